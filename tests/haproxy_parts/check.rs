//! `haproxy -c` and `haproxy -v`.

use std::path::Path;
use std::time::{Duration, Instant};

use proxymgr::haproxy::check::{CheckError, CheckReport, discover_version};
use proxymgr::process::child_command::ChildCommand;
use proxymgr::process::exit::Exit;
use proxymgr::process::reaper::Reaper;

use crate::world::{LIMIT, World, config};

#[tokio::test]
async fn a_refused_configuration_names_line_and_section() {
    let world = World::new();
    let report = world.check(&config("listen a\n  bind fd@777\n")).await;
    assert!(!report.accepted && report.messages.iter().any(|m| m.line == Some(9)), "{report:?}");

    let report = world.check(&config("listen a\n  bind 127.0.0.1:1\n  server s1 1.2.3.4:99999\n")).await;
    let alert = report.messages.iter().find(|m| m.line == Some(10)).unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!(alert.proxy.as_deref(), Some("a"));
    assert!(
        alert.file.as_deref().unwrap().ends_with("check.cfg") && alert.text.contains("99999"),
        "{alert:?}"
    );

    let report = world.check(&config("listen web\n  bind 127.0.0.1:1\n  default_backend nowhere\n")).await;
    let alert = report.messages.iter().find(|m| m.text.contains("nowhere"));
    let alert = alert.unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!((alert.proxy.as_deref(), report.accepted), (Some("web"), false));
}

#[tokio::test]
async fn an_accepted_configuration_has_no_messages() {
    let report = World::new().check(&config("listen a\n  bind 127.0.0.1:1\n")).await;
    assert_eq!(report, CheckReport { accepted: true, messages: Vec::new() });
}

#[tokio::test]
async fn another_program_is_not_taken_for_haproxy() {
    let reaper = Reaper::start().unwrap();
    let error = discover_version(&reaper, Path::new("echo"), LIMIT).await.unwrap_err();
    assert!(matches!(error, CheckError::NoVersion { .. }), "{error}");
    let error = discover_version(&reaper, Path::new("/nowhere/haproxy"), LIMIT).await.unwrap_err();
    assert!(matches!(error, CheckError::Spawn(_)), "{error}");
}

#[tokio::test]
async fn a_check_that_hangs_is_killed() {
    let reaper = Reaper::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("haproxy");
    // Written by a child: a file that this process had open for writing may be "busy" while other tests fork.
    let mut writer = ChildCommand::new("sh");
    let script = r#"printf '#!/bin/sh\necho $$ >"$0.pid"\nexec sleep 600\n' >"$1" && chmod +x "$1""#;
    writer.arg("-c").arg(script).arg("sh").arg(&program);
    assert_eq!(reaper.spawn(writer).unwrap().exit.wait().await, Exit::Code(0));
    let error = discover_version(&reaper, &program, Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(error, CheckError::TimedOut { .. }), "{error}");
    let pid = std::fs::read_to_string(dir.path().join("haproxy.pid")).unwrap();
    let deadline = Instant::now() + LIMIT;
    while Path::new("/proc").join(pid.trim()).exists() {
        assert!(Instant::now() < deadline, "{pid} still runs");
        tokio::task::yield_now().await;
    }
}
