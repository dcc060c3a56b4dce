use super::*;
use crate::engine::option_line::OptionLine;

fn risk_of(line: &str) -> Option<Risk> {
    OptionLine::parse(line).unwrap();
    let own = ServiceName::parse("web").unwrap();
    check_risks(line, &own, &Allowed::new()).err().map(|forbidden| forbidden.risk)
}

#[test]
fn what_reaches_beyond_the_service_is_found_however_it_is_written() {
    for (line, risk) in [
        ("external-check command /bin/sh", Risk::ExternalCheck),
        ("option external-check", Risk::ExternalCheck),
        ("no option external-check", Risk::ExternalCheck),
        ("opt\\ion 'external-check'", Risk::ExternalCheck),
        ("http-request lua.steal", Risk::Lua),
        ("http-request use-service lua.shell", Risk::Lua),
        ("http-request set-header x %[src,lua.conv]", Risk::Lua),
        ("acl a lua.fetch(1) -m found", Risk::Lua),
        ("http-request \"lua\\x2esteal\"", Risk::Lua),
        ("errorfile 503 /etc/shadow", Risk::ErrorFile),
        ("err'orfile' 503 /etc/shadow", Risk::ErrorFile),
        ("errorfiles pages", Risk::ErrorFile),
        ("http-error status 404 content-type text/plain file /etc/shadow", Risk::ErrorFile),
        ("http-request return content-type text/plain lf-file /etc/shadow", Risk::ErrorFile),
        ("http-request deny errorfile /etc/shadow", Risk::ErrorFile),
        ("http-after-response return file /x", Risk::ErrorFile),
        ("bind - ssl crt-list /etc/shadow", Risk::CertificateList),
        ("acl a src -f /etc/hosts", Risk::AclFile),
        ("use_backend x if { src -f /etc/hosts }", Risk::AclFile),
        ("http-request set-header x %[src,map(/etc/shadow)]", Risk::Map),
        ("http-request set-header x %[src,map_str_int(/etc/shadow,0)]", Risk::Map),
        ("http-request set-map(/etc/other.map) k v", Risk::Map),
        ("tcp-request content del-acl(/etc/x) v", Risk::Map),
        ("acl a req.hdr(x),jwt_verify(txn.alg,\"/etc/key.pem\") 1", Risk::KeyFile),
        ("load-server-state-from-file local", Risk::ServerState),
        ("server-state-file-name x", Risk::ServerState),
        ("filter spoe engine x config /etc/x", Risk::Filter),
        ("filter trace", Risk::Filter),
        ("http-request send-spoe-group a b", Risk::Filter),
        ("stats admin if TRUE", Risk::StatsAdmin),
        ("server x unix@/run/proxymgr/haproxy.sock", Risk::LocalSocket),
        ("server x /run/proxymgr/haproxy.sock", Risk::LocalSocket),
        ("server-template x 1-3 /run/x", Risk::LocalSocket),
        ("server x \"abns@a\"", Risk::LocalSocket),
        ("server x uxst@/run/proxymgr/haproxy.sock", Risk::LocalSocket),
        ("server x stream+/run/proxymgr/haproxy.sock", Risk::LocalSocket),
        ("server x stream+unix@/run/proxymgr/haproxy.sock", Risk::LocalSocket),
        ("log uxdg@/run/x local0", Risk::LocalSocket),
        ("log dgram+/dev/log local0", Risk::LocalSocket),
        ("server x 1.2.3.4:1 socks4 /run/x", Risk::LocalSocket),
        ("server x 1.2.3.4:1 namespace other", Risk::LocalSocket),
        ("bind - namespace other", Risk::LocalSocket),
        ("server x ipv4@1.2.3.4:1 addr unix@/run/x", Risk::LocalSocket),
        ("tcp-check connect addr /run/proxymgr/haproxy.sock", Risk::LocalSocket),
        ("check agent-addr /run/x", Risk::LocalSocket),
        ("log fd@5 local0", Risk::LocalSocket),
        ("log /dev/log local0", Risk::LocalSocket),
        ("http-request set-header x \"${ZK_AUTH}\"", Risk::Environment),
        ("http-request set-header x %[env(ZK_AUTH)]", Risk::Environment),
        ("http-request set-header x %[req.hdr(x),jwt_decrypt_cert(/etc/other.pem)]", Risk::KeyFile),
        ("http-request set-var(proc.stop) int(1)", Risk::SharedState),
        ("tcp-request content set-var-fmt(proc.x) %[src]", Risk::SharedState),
        ("http-request unset-var(proc.x)", Risk::SharedState),
        ("http-request set-header x \"%[src,set-var('proc.x')]\"", Risk::SharedState),
        ("http-request do-resolve(proc.x,dns) str(web)", Risk::SharedState),
        ("http-request cache-use shared", Risk::SharedState),
        ("http-response cache-store shared", Risk::SharedState),
        ("filter cache shared", Risk::SharedState),
        ("stick on src table victim", Risk::OtherSection),
        ("stick store-request src table victim if TRUE", Risk::OtherSection),
        ("stick store-response src 'table' vic\\x74im", Risk::OtherSection),
        ("http-request track-sc0 src table victim", Risk::OtherSection),
        ("tcp-request connection track-sc1 src table victim if TRUE", Risk::OtherSection),
        ("http-request track-sc0 src table web table victim", Risk::OtherSection),
        ("stick-table type ip size 1k expire 1s peers p write-to victim", Risk::OtherSection),
        ("tcp-request session attach-srv victim/s", Risk::OtherSection),
        ("acl a src_inc_gpc0(victim) gt 0", Risk::OtherSection),
        ("acl a src_inc_gpc0(\"'victim'\") gt 0", Risk::OtherSection),
        ("acl a src_clr_gpc(0,victim) gt 0", Risk::OtherSection),
        ("acl a src_updt_conn_cnt(victim) gt 0", Risk::OtherSection),
        ("acl a sc_inc_gpc(0,1,victim) gt 0", Risk::OtherSection),
        ("acl a sc_clr_gpc1(1,victim) gt 0", Risk::OtherSection),
        ("acl a sc0_inc_gpc0(0) gt 0", Risk::OtherSection),
        ("http-request set-header x %[src,table_inc_gpc(0,victim)]", Risk::OtherSection),
    ] {
        assert_eq!(risk_of(line), Some(risk), "{line}");
    }
}

#[test]
fn ordinary_lines_are_taken() {
    for line in [
        "mode http",
        "option httpchk GET /health",
        "http-check send meth GET uri /map hdr Host lua-users.org",
        "http-check expect rstring ^OK$",
        "check inter 2000 fall 3 ssl ca-file /etc/ssl/ca.pem verify required",
        "ssl crt /etc/ssl/web.pem alpn h2,http/1.1",
        "acl api path_beg /api /file /errorfile",
        "http-request set-header X-Map roadmap",
        "http-request redirect location https://www.lua-users.org/ if { path_reg ^/a$ }",
        "log 127.0.0.1:514 local0",
        "log global",
        "filter compression",
        "stats uri /stats",
        "source 10.0.0.1",
        "cookie SRV insert indirect nocache",
        "balance url_param map",
        "http-request set-header x '${literal}'",
        "server own 10.0.0.1:80 check",
        "stick-table type ip size 1k expire 1m store gpc0,http_req_rate(10s)",
        "http-request set-header X-Scope namespace",
        "stick on src",
        "stick on src table web",
        "stick match src table victim",
        "http-request track-sc0 src",
        "http-request track-sc0 src table web if { src_inc_gpc0(web) gt 0 }",
        "acl a sc_inc_gpc(0,1) gt 0",
        "acl a sc_inc_gpc0(0) gt 0",
        "acl a sc0_inc_gpc0 gt 0",
        "acl a src_inc_gpc(0,web) gt 0",
        "http-request sc-inc-gpc(0,1)",
        "http-request deny if { src,in_table(victim) } { src,table_http_req_rate(victim) gt 9 }",
        "http-request set-var(txn.x) var(proc.limit),add(proc.more)",
        "http-request set-var(sess.proc.x) src",
        "use_backend victim if { nbsrv(web) lt 1 }",
    ] {
        assert_eq!(risk_of(line), None, "{line}");
    }
}

#[test]
fn the_operator_may_allow_each_and_the_refusal_tells_how() {
    for (word, risk) in Risk::WORDS {
        assert_eq!(risk.word(), word);
    }
    let (line, own) = ("errorfile 503 /x", ServiceName::parse("web").unwrap());
    check_risks(line, &own, &Allowed::from([Risk::ErrorFile])).unwrap();
    let refusal = check_risks(line, &own, &Allowed::from([Risk::Map])).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "'errorfile' is not allowed: it shows files; only the operator can allow it (safety.allow_options: [error-file] in proxymgr.yml)"
    );
}
