/// A file (a good `service_config` is added after it unless it holds one) and all that it is told.
const BAD_FILES: &[(&str, &[&str])] = &[
    ("haproxy: {pat: x}", &["1:11: haproxy.pat: unknown key; did you mean 'path'?"]),
    (
        "haproxy: {zzz: x}",
        &[
            "1:11: haproxy.zzz: unknown key; known here are path, config_path, socket_path, global, defaults, include, template, bind_address, runtime_updates, cookie_key",
        ],
    ),
    ("haprox: {}", &["1:1: haprox: unknown key; did you mean 'haproxy'?"]),
    ("haproxy: []", &["1:10: haproxy: must hold keys with values, but is a list"]),
    ("haproxy: haproxy", &["1:10: haproxy: must hold keys with values, but is a single value"]),
    (
        "haproxy: {path: ./haproxy}",
        &[
            "1:17: haproxy.path: './haproxy' is no program; write a name to be found on PATH, such as haproxy, or an absolute path",
        ],
    ),
    (
        "haproxy: {config_path: haproxy.cfg}",
        &["1:24: haproxy.config_path: 'haproxy.cfg' is no absolute path; begin it with /"],
    ),
    (
        "haproxy: {socket_path: \"/run/a b\"}",
        &[
            "1:24: haproxy.socket_path: '/run/a b' can't be a socket's path; write one shorter than 100 bytes of letters, digits and /._:@+-",
        ],
    ),
    ("haproxy: {socket_path: ''}", &["1:24: haproxy.socket_path: '' is no absolute path; begin it with /"]),
    (
        "haproxy: {global: maxconn 4096}",
        &["1:19: haproxy.global: must be a list of lines, but is a single value; begin each line with '- '"],
    ),
    (
        "haproxy:\n  global:\n  - maxconn 4096\n  - [a]\n  - listen evil\n  - \"a\\nb\"",
        &[
            "4:5: haproxy.global[1]: must be a single value, but is a list",
            "5:5: haproxy.global[2]: 'listen evil' can't stand here: 'listen' begins a section of haproxy.cfg and can't stand inside one",
            "6:5: haproxy.global[3]: 'a\\nb' can't stand here: the line holds the control character \\n; a line is one line of printable text",
        ],
    ),
    (
        "haproxy: {global: [\"${TWO_LINES}\"]}",
        &[
            "1:20: haproxy.global[0]: what stands in '${TWO_LINES}' can't stand here: the line holds the control character \\n; a line is one line of printable text",
        ],
    ),
    (
        "haproxy: {defaults: [mode http: 1]}",
        &["1:22: haproxy.defaults[0]: must be a single value, but is a mapping"],
    ),
    (
        "haproxy: {bind_address: localhost}",
        &[
            "1:25: haproxy.bind_address: 'localhost' is no IP address; write one without a port, such as 0.0.0.0, [::] or *",
        ],
    ),
    (
        "haproxy: {bind_address: unix@/x}",
        &[
            "1:25: haproxy.bind_address: 'unix@/x' is no IP address; write one without a port, such as 0.0.0.0, [::] or *",
        ],
    ),
    (
        "haproxy: {bind_address: \"1.2.3.4:80\"}",
        &[
            "1:25: haproxy.bind_address: '1.2.3.4:80' is no IP address; write one without a port, such as 0.0.0.0, [::] or *",
        ],
    ),
    (
        "haproxy: {bind_address: ${LOOKS_LIKE_YAML}}",
        &[
            "1:25: haproxy.bind_address: what stands in '${LOOKS_LIKE_YAML}' is no IP address; write one without a port, such as 0.0.0.0, [::] or *",
        ],
    ),
    (
        "haproxy: {runtime_updates: yes}",
        &["1:28: haproxy.runtime_updates: 'yes' is not allowed; write true or false"],
    ),
    (
        "haproxy: {include: [conf.d/x.cfg, /c/]}",
        &[
            "1:21: haproxy.include[0]: 'conf.d/x.cfg' is no absolute path; begin it with /",
            "1:35: haproxy.include[1]: '/c/' names a directory; write DIRECTORY/*.cfg",
        ],
    ),
    (
        "haproxy: {config_path: /c/haproxy.cfg, include: [/c/*.cfg]}",
        &[
            "1:49: haproxy.include: takes in haproxy.config_path, which ProxyMgr writes itself; keep them in different directories",
        ],
    ),
    ("haproxy: {template: x.j2}", &["1:21: haproxy.template: 'x.j2' is no absolute path; begin it with /"]),
    ("haproxy: {path: a, path: b}", &["1:20: haproxy.path: stands here twice; it was first set in line 1"]),
    ("haproxy: {path: \"<%= x %>\"}", &["1:17: haproxy.path: ERB (<%= %>) is not read; write ${VARIABLE}"]),
    (
        "<% if x %>\nhaproxy: {path: x}\n<% end %>",
        &[
            "2:8: not valid YAML: mapping values are not allowed in this context; ERB (<% %>) is not read, write ${VARIABLE}",
        ],
    ),
    (
        "reload: {min_interval: 1}",
        &["1:24: reload.min_interval: '1' has no unit; write it with one, such as 500ms, 10s, 5m, 2h or 1d"],
    ),
    (
        "reload: {min_interval: 1.5s}",
        &[
            "1:24: reload.min_interval: '1.5s' is no duration; write a whole number and its unit: 500ms, 10s, 5m, 2h or 1d",
        ],
    ),
    (
        "reload: {min_interval: soon}",
        &[
            "1:24: reload.min_interval: 'soon' is no duration; write a whole number and its unit: 500ms, 10s, 5m, 2h or 1d",
        ],
    ),
    (
        "reload: {min_interval: 1week}",
        &[
            "1:24: reload.min_interval: '1week' has an unknown unit; write a whole number and its unit: 500ms, 10s, 5m, 2h or 1d",
        ],
    ),
    (
        "reload: {drain_timeout: 366d}",
        &["1:25: reload.drain_timeout: '366d' is too long; at most 365d are taken"],
    ),
    (
        "reload: {drain_timeout: -1s}",
        &[
            "1:25: reload.drain_timeout: '-1s' is no duration; write a whole number and its unit: 500ms, 10s, 5m, 2h or 1d",
        ],
    ),
    ("reload: {drain_timeout: [1s]}", &["1:25: reload.drain_timeout: must be a single value, but is a list"]),
    (
        "reload: {max_draining: 0}",
        &["1:24: reload.max_draining: '0' is not allowed; write a whole number from 1 to 4294967295"],
    ),
    (
        "reload: {max_draining: many}",
        &["1:24: reload.max_draining: 'many' is not allowed; write a whole number from 1 to 4294967295"],
    ),
    (
        "reload: {max_draining: ${UNSET}}",
        &[
            "1:24: reload.max_draining: the environment variable UNSET is not set; set it or write ${UNSET:-default}",
        ],
    ),
    (
        "reload: {max_draining: \"${UNSET:-${COUNT}}\"}",
        &["1:24: reload.max_draining: the default of ${UNSET:-...} can't hold another variable"],
    ),
    (
        "reload: {max_draining: \"${COUNT\"}",
        &[
            "1:24: reload.max_draining: '${' has no '}'; write ${VARIABLE} or ${VARIABLE:-default}, or $${ for a literal ${",
        ],
    ),
    (
        "reload: {max_draining: \"${1x}\"}",
        &[
            "1:24: reload.max_draining: '${...}' holds no name of a variable; write ${VARIABLE} or ${VARIABLE:-default}, or $${ for a literal ${",
        ],
    ),
    (
        "reload: {max_draining: ${ZK_AUTH}}",
        &[
            "1:24: reload.max_draining: what stands in '${ZK_AUTH}' is not allowed; write a whole number from 1 to 4294967295",
        ],
    ),
    (
        "reload: {mininterval: 1s, <<: {a: b}}",
        &[
            "1:10: reload.mininterval: unknown key; did you mean 'min_interval'?",
            "1:27: reload.<<: merge keys are not read; write the keys out",
        ],
    ),
    ("safety: {on_empty: panic}", &["1:20: safety.on_empty: 'panic' is not allowed; write keep or drain"]),
    (
        "safety: {max_shrink: 101%, shrink_hold: 30, allow_options: [lau]}",
        &[
            "1:22: safety.max_shrink: '101%' is no part in percent; write 0% to 100%",
            "1:41: safety.shrink_hold: '30' has no unit; write it with one, such as 500ms, 10s, 5m, 2h or 1d",
            "1:61: safety.allow_options[0]: 'lau' is not allowed; write external-check, lua, error-file, certificate-list, acl-file, map, key-file, server-state, other-section, shared-state, filter, stats-admin, local-socket or environment",
        ],
    ),
    (
        "shutdown: {grace: 8 s}",
        &[
            "1:19: shutdown.grace: '8 s' has an unknown unit; write a whole number and its unit: 500ms, 10s, 5m, 2h or 1d",
        ],
    ),
    (
        "log: {format: xml, level: INFO}",
        &[
            "1:15: log.format: 'xml' is not allowed; write text or json",
            "1:27: log.level: 'INFO' is not allowed; write error, warn, info, debug or trace",
        ],
    ),
    (
        "frontends:\n  http-in: {bind: [\"*:80\", web, \":80\"], default_service: a b}\n  a b: {bind: \":81\"}\n  none:",
        &[
            "2:28: frontends.http-in.bind[1]: 'web' can't be bound; write ADDRESS:PORT with an IP address or '*', or unix@/path",
            "2:33: frontends.http-in.bind[2]: is bound twice; each address belongs to one frontend",
            "2:58: frontends.http-in.default_service: 'a b' is no service's name: the name holds ' '; letters, digits, '-', '_', '.' and ':' are taken",
            "3:3: frontends: has a name that can't be taken: the name holds ' '; letters, digits, '-', '_', '.' and ':' are taken",
            "4:3: frontends.none: has no bind; write an address and a port, such as bind: \"*:80\", or a list of them",
        ],
    ),
    (
        "frontends:\n  in:\n    bind: \":80\"\n    options: [bind :81, use_backend x, mode tcp]\n    colour: red",
        &[
            "4:15: frontends.in.options[0]: 'bind :81' can't stand here; write the address under bind",
            "4:25: frontends.in.options[1]: 'use_backend x' can't stand here; a service names its route itself, and default_service gets the rest",
            "4:40: frontends.in.options[2]: 'mode tcp' can't stand here; a frontend is in HTTP mode",
            "5:5: frontends.in.colour: unknown key; known here are bind, bind_options, options, default_service",
        ],
    ),
    (
        "admin: {token_file: token, port: 1}",
        &[
            "1:21: admin.token_file: 'token' is no absolute path; begin it with /",
            "1:28: admin.port: unknown key; known here are listen, token_file",
        ],
    ),
    (
        "admin: {listen: 'localhost:7070'}",
        &[
            "1:17: admin.listen: 'localhost:7070' is no address to listen on; write an IP address and a port, such as 127.0.0.1:7070 or [::1]:7070, or a port alone for this host",
        ],
    ),
    (
        "runtime_dir: /this/path/is/indeed/so/long/that/no/name/of/a/socket/would/fit/behind/it/",
        &[
            "1:14: runtime_dir: '/this/path/is/indeed/so/long/that/no/name/of/a/socket/would/fit/behind/it/' is too long for the paths of the sockets in it; write one shorter than 70 bytes",
        ],
    ),
    (
        "haproxy: {global: [.if true]}",
        &["1:20: haproxy.global[0]: '.if true' can't stand here: HAProxy's preprocessor takes lines that begin with a dot"],
    ),
    ("state_dir: var", &["1:12: state_dir: 'var' is no absolute path; begin it with /"]),
    ("runtime_dir: ~/x", &["1:14: runtime_dir: '~/x' is no absolute path; begin it with /"]),
    (
        "haproxy: {path: x",
        &["2:15: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'"],
    ),
    (
        "haproxy:\n\tpath: x",
        &["2:2: not valid YAML: tabs disallowed within this context (block indentation)"],
    ),
    ("haproxy: !ruby/object {}", &["1:10: YAML tags (!name) are not read; remove it"]),
    ("a: *b", &["1:4: not valid YAML: while parsing node, found unknown anchor"]),
    ("a: &a [*a]", &["1:8: this alias stands inside the value it repeats"]),
    ("[1]: x", &["1:1: a key must be a word"]),
    ("reload: {}\n---\nreload: {}", &["2:1: a second YAML document begins here; write only one"]),
    (
        "# service_config",
        &[
            " service_config: is missing; write where services come from, such as service_config: {type: file, path: /etc/proxymgr/services} or {type: zookeeper, servers: \"localhost:2181\", path: /service_config}",
        ],
    ),
    ("- service_config", &["1:1: must hold keys with values, but is a list"]),
    (
        "service_config:",
        &[
            "1:1: service_config: is missing; write where services come from, such as service_config: {type: file, path: /etc/proxymgr/services} or {type: zookeeper, servers: \"localhost:2181\", path: /service_config}",
        ],
    ),
    (
        "service_config: []",
        &[
            "1:17: service_config: is an empty list; write where services come from, such as service_config: {type: file, path: /etc/proxymgr/services} or {type: zookeeper, servers: \"localhost:2181\", path: /service_config}",
        ],
    ),
    (
        "service_config: zookeeper",
        &["1:17: service_config: must hold keys with values, but is a single value"],
    ),
    (
        "service_config: {path: /x}",
        &["1:17: service_config.type: is missing; write type: zookeeper, type: consul, type: file or type: docker"],
    ),
    (
        "service_config: {type: etcd}",
        &["1:24: service_config.type: 'etcd' is not allowed; write zookeeper, consul, file or docker"],
    ),
    (
        "service_config: {type: zookeeper}",
        &[
            "1:17: service_config.servers: is missing; write the ensemble, such as servers: \"zk1:2181,zk2:2181\"",
            "1:17: service_config.path: is missing; write the node that holds the services, such as path: /service_config",
        ],
    ),
    (
        "service_config: {type: file, path: services, servers: x}",
        &[
            "1:36: service_config.path: 'services' is no absolute path; begin it with /",
            "1:46: service_config.servers: unknown key; known here are type, path",
        ],
    ),
    (
        "service_config: {type: zookeeper, servers: \"zk:99999\", path: services}",
        &[
            "1:44: service_config.servers: 'zk:99999' is no list of ZooKeeper servers; write host:port,host:port, and a chroot such as /prod after the last if there is one",
            "1:62: service_config.path: 'services' is no path of a ZooKeeper node; write one such as /service_config, without a / at its end",
        ],
    ),
    (
        "service_config: {type: zookeeper, servers: \"a,,b\", path: /a/}",
        &[
            "1:44: service_config.servers: 'a,,b' is no list of ZooKeeper servers; write host:port,host:port, and a chroot such as /prod after the last if there is one",
            "1:58: service_config.path: '/a/' is no path of a ZooKeeper node; write one such as /service_config, without a / at its end",
        ],
    ),
    (
        "service_config: {type: zookeeper, servers: \"zk/a//b\", path: /a, tls: {}}",
        &[
            "1:44: service_config.servers: 'zk/a//b' has a bad chroot; write host:port,host:port, and a chroot such as /prod after the last if there is one",
            "1:70: service_config.tls.ca: is missing; write the file with the authorities that sign the servers' certificates",
        ],
    ),
    (
        "service_config: {type: zookeeper, servers: zk, path: /a, auth: {password: x}}",
        &[
            "1:64: service_config.auth.scheme: is missing; write scheme: digest",
            "1:64: service_config.auth.credentials: is missing; write credentials: ${VARIABLE}, for digest a user:password",
            "1:65: service_config.auth: unknown key; known here are scheme, credentials",
        ],
    ),
    (
        "service_config: {type: zookeeper, servers: zk, path: /a, tls: {ca: ca.pem, cert: /c, kye: /k}}",
        &[
            "1:63: service_config.tls.key: is missing; write the file with the private key of cert",
            "1:68: service_config.tls.ca: 'ca.pem' is no absolute path; begin it with /",
            "1:86: service_config.tls.kye: unknown key; known here are ca, cert, key",
        ],
    ),
    (
        "service_config: {type: zookeeper, servers: zk, path: /a, tls: {ca: /ca, key: /k}}",
        &["1:63: service_config.tls.cert: is missing; write the file with the certificate that key is for"],
    ),
    (
        "service_config: [{type: file, path: /a}, {type: file}, 7]",
        &[
            "1:42: service_config[1].path: is missing; write a directory or a file, such as path: /etc/proxymgr/services",
            "1:56: service_config[2]: must hold keys with values, but is a single value",
        ],
    ),
];
