//! What is taken of `route` and `cookie`.

use super::*;
use crate::document::Format;
use crate::engine::route::Strip;

fn read(entrance: &str) -> Result<Definition, Refusal> {
    let text = format!(r#"{{"type": "static", "default_servers": ["10.0.0.1:80"], {entrance}}}"#);
    let raw = RawDefinition { data: text.as_bytes().into(), format: Format::Json, origin: "test".into() };
    parse(&ServiceName::parse("web").unwrap(), &raw, &Allowed::new())
}

fn routes(entrance: &str) -> Vec<(String, u8)> {
    match read(entrance).unwrap().spec.entrance {
        Entrance::Port(port) => panic!("{port}"),
        Entrance::Routes(routes) => {
            routes.iter().map(|(id, strip)| (id.to_string(), Strip::get(*strip))).collect()
        }
    }
}

#[test]
fn one_route_or_a_list_takes_the_place_of_the_port() {
    let one =
        r#""route": {"frontend": "http-in", "host": "A.Example", "path": "/hello/v1", "strip_prefix": true}"#;
    assert_eq!(routes(one), [("http-in:a.example/hello/v1".to_owned(), 2)]);
    let list = r#""route": [{"frontend": "in"}, {"frontend": "in", "host": "*.example", "path": "/a/", "strip_prefix": false}]"#;
    assert_eq!(routes(list), [("in:*.example/a".to_owned(), 0), ("in:/".to_owned(), 0)]);
    let cookie = read(r#""port": 80, "cookie": "SRV""#).unwrap().spec.cookie;
    assert_eq!(cookie.unwrap().as_str(), "SRV");
}

#[test]
fn what_is_wrong_with_a_route_is_told_with_its_place() {
    for (entrance, told) in [
        (r#""route": []"#, "\"route\" is a list of 0"),
        (r#""route": "/a""#, "\"route\" is \"/a\": it must be an object"),
        (r#""route": [{"frontend": "in"}, 3]"#, "\"route[1]\" is 3"),
        (r#""route": {"path": "/a"}"#, "\"route.frontend\" is missing"),
        (r#""route": {"frontend": "a b"}"#, "\"route.frontend\": the name holds ' '"),
        (r#""route": {"frontend": "in", "host": "a b"}"#, "\"route.host\": 'a b' is no host"),
        (r#""route": {"frontend": "in", "path": "a"}"#, "\"route.path\": the path 'a' must begin with /"),
        (
            r#""route": {"frontend": "in", "path": "/a\n/ x/0"}"#,
            "\"route.path\": the path '/a\\n/ x/0' holds",
        ),
        (r#""route": {"frontend": "in", "strip_prefix": "yes"}"#, "\"route.strip_prefix\" is \"yes\""),
        (r#""route": {"frontend": "in"}, "port": 80"#, "\"port\" and \"route\" don't go together"),
        (r#""route": {"frontend": "in"}, "bind": "*""#, "\"bind\" and \"route\" don't go together"),
        (r#""route": {"frontend": "in"}, "listen_options": "bind :80""#, "has a 'bind' line"),
        (
            r#""route": [{"frontend": "in", "path": "/a"}, {"frontend": "in", "path": "/a/", "strip_prefix": true}]"#,
            "\"route[1]\" is there twice",
        ),
        (r#""port": 80, "cookie": "a b""#, "\"cookie\": 'a b' is no cookie's name"),
    ] {
        let errors = read(entrance).unwrap_err().errors;
        assert!(
            errors.iter().any(|error| error.starts_with(told) || error.contains(told)),
            "{told}: {errors:?}"
        );
    }
}

#[test]
fn a_slip_of_the_pen_in_a_route_is_told() {
    let keys = read(r#""route": {"frontend": "in", "strip_prefx": true}"#).unwrap().unknown_keys;
    let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["\"route.strip_prefx\" (did you mean \"strip_prefix\"?)"]);
}
