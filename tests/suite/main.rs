//! The integration tests: one crate, so that what they share is compiled once, with one module per subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed, and says where"
)]

mod accepted_definitions;
mod accepted_lines;
mod after_crash;
mod attacks;
mod bad_input;
mod bad_neighbours;
mod cli;
mod consul;
mod consul_access;
mod consul_faults;
mod consul_scale;
mod consul_tls;
mod control_socket;
mod crashes;
mod deadly_definitions;
mod demo;
mod dns_names;
mod dns_service;
mod docker_faults;
mod docker_services;
mod docker_tls;
mod docker_watcher;
mod documented_commands;
mod ending;
mod engine;
mod events;
mod examples;
mod frozen_haproxy;
mod full_disk;
mod generations;
mod haproxy_faults;
mod host_names;
mod http;
mod includes;
mod init_process;
mod json_keys;
mod layers;
mod lifecycle;
mod load_client;
mod long_lines;
mod metrics;
mod monitoring;
mod no_change;
mod node_formats;
mod not_ended;
mod open_files;
mod operate;
mod original_readme;
mod other_sections;
mod page;
mod page_access;
mod page_scale;
mod proxymgr_yml;
mod readme_commands;
mod referring_services;
mod registry_values;
mod registry_values_told;
mod registry_zookeeper;
mod reloads;
mod replace_commands;
mod replacements;
mod route_requests;
mod routes;
mod routes_at_run_time;
mod several_hosts;
mod signals;
mod snapshot;
mod socket_activation;
mod socket_under_fire;
mod static_balance;
mod status;
mod support;
mod systemd;
mod templates;
mod terminal;
mod upgrade;
mod versions;
mod viewers;
mod why_origin;
mod why_reasons;
mod zookeeper_auth;
mod zookeeper_bad_input;
mod zookeeper_changes;
mod zookeeper_ensembles;
mod zookeeper_faults;
mod zookeeper_outage;
mod zookeeper_scale;
mod zookeeper_sessions;
mod zookeeper_tls;
