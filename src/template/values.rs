//! The model as a template sees it. Most of it is made when it is asked for.

use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

use minijinja::context;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value};

use crate::engine::http_frontend::{HttpFrontend, ROUTED_DEFAULTS};
use crate::engine::include::IncludedFile;
use crate::engine::option_line::OptionLine;
use crate::engine::section::SectionKind;
use crate::engine::section_text::{Lines, SectionText};
use crate::engine::server::ServerName;
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedServer, AppliedService};
use crate::engine::template::Model;

/// The whole.
pub(super) fn context(model: &Model) -> Value {
    let base = &model.base;
    let frontends = model.frontends.iter().filter_map(|(name, section)| {
        let frontend = base.frontends.get(name)?.clone();
        Some(Value::from_object(Frontend { name: name.to_string(), values: frontend, text: section.clone() }))
    });
    let services = model.services.iter().map(|(name, service, section)| {
        Value::from_object(Service { name: name.clone(), values: service.clone(), text: section.clone() })
    });
    let includes = model.includes.files().iter().map(|file| Value::from_object(Include(file.clone())));
    context! {
        global => context! {
            needed_lines => lines(model.global_needed.clone()),
            lines => lines(indented(&base.global)),
            last_lines => lines(model.global_last.clone()),
        },
        defaults => context! {
            needed_lines => lines(model.defaults_needed.clone()),
            lines => lines(indented(&base.defaults)),
        },
        routed_defaults => ROUTED_DEFAULTS,
        bind_address => base.bind_address.to_string(),
        frontends => frontends.collect::<Value>(),
        services => services.collect::<Value>(),
        includes => includes.collect::<Value>(),
    }
}

fn lines(lines: Lines) -> Value {
    Value::from_object(LineList { lines, each: OnceLock::new() })
}

fn indented(lines: &[OptionLine]) -> Lines {
    let text = lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "  {line}");
        text
    });
    Lines::from(text)
}

fn texts<T: fmt::Display>(items: &[T]) -> Value {
    items.iter().map(|item| Value::from(item.to_string())).collect()
}

/// The first of some lines, as a text without its line feed.
fn only(lines: &Lines) -> Value {
    Value::from(lines.as_str().trim_end())
}

/// Lines, each by itself, or as a text.
#[derive(Debug)]
struct LineList {
    lines: Lines,
    each: OnceLock<Vec<Value>>,
}

impl LineList {
    fn each(&self) -> &[Value] {
        // Not by `lines`: a carriage return of an included file stays.
        let lines = |text: &str| text.split('\n').map(Value::from).collect();
        self.each.get_or_init(|| self.lines.as_str().strip_suffix('\n').map_or_else(Vec::new, lines))
    }
}

impl Object for LineList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.each().get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.each().len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lines.as_str())
    }
}

#[derive(Debug)]
struct Frontend {
    name: String,
    values: HttpFrontend,
    text: SectionText,
}

impl Object for Frontend {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let HttpFrontend { options, default_service, .. } = &self.values;
        Some(match key.as_str()? {
            "name" => Value::from(self.name.as_str()),
            "section_line" => only(&self.text.head()),
            "bind_lines" => lines(self.text.binds()),
            "option_lines" => lines(self.text.options()),
            "route_lines" => lines(self.text.own()),
            "addresses" => texts(self.values.binds()),
            "options" => texts(options),
            "default_service" => default_service.as_ref().map(ServiceName::as_str).into(),
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Service {
    name: ServiceName,
    values: Arc<AppliedService>,
    text: SectionText,
}

impl Object for Service {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let section = &self.values.section;
        Some(match key.as_str()? {
            "name" => Value::from(self.name.as_str()),
            "kind" => Value::from(match section.kind {
                SectionKind::Listen => "listen",
                SectionKind::Backend => "backend",
            }),
            "section_line" => only(&self.text.head()),
            "bind_lines" => lines(self.text.binds()),
            "option_lines" => lines(self.text.options()),
            "cookie_lines" => lines(self.text.own()),
            "server_lines" => lines(self.text.servers()),
            "addresses" => texts(&section.listen),
            "options" => texts(&section.listen_options),
            "server_options" => texts(&section.server_options),
            "cookie" => section.cookie.as_ref().map(ToString::to_string).into(),
            "routes" => {
                let routes = section.routes.keys();
                routes
                    .map(|route| context! { frontend => route.frontend.as_str(), key => route.key.as_str() })
                    .collect()
            }
            "servers" => self.servers(),
            _ => return None,
        })
    }
}

impl Service {
    /// Those in rotation, each with its line.
    fn servers(&self) -> Value {
        let servers = self.text.servers();
        let in_rotation = self.values.servers.iter().filter(|(_, server)| !server.standing.is_out());
        let server = |((name, server), line): ((&ServerName, &AppliedServer), &str)| {
            context! {
                name => name.as_str(),
                address => server.address.to_string(),
                ip => server.address.ip().to_string(),
                port => server.address.port(),
                id => server.id.get(),
                weight => server.weight.get(),
                backup => server.backup,
                options => server.options.as_ref().map(ToString::to_string),
                line => line,
            }
        };
        in_rotation.zip(servers.as_str().lines()).map(server).collect()
    }
}

#[derive(Debug)]
struct Include(IncludedFile);

impl Object for Include {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "path" => Value::from(self.0.path()),
            "lines" => lines(Lines::from(self.0.text().to_owned())),
            _ => return None,
        })
    }
}
