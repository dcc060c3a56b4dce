//! Writes the manual pages and shell completions, from the same description that the command line is read by.
//!
//! `cargo run --example generate_manual -- DIRECTORY`, or `make man`. A tool of the build: the shipped binary doesn't hold it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use proxymgr::cli::args::description;

/// What users of a daemon look for and `clap` knows nothing of.
const DAEMON_SECTIONS: &str = r".SH SIGNALS
.TP
TERM, INT, USR1
Drain: connections may finish for \fIshutdown.grace\fR, then it ends with exit code 0. A second one ends it now.
.TP
HUP
Read proxymgr.yml again.
.TP
USR2
Replace ProxyMgr's own program by the installed one; HAProxy goes on.
.SH ENVIRONMENT
.TP
PROXYMGR_LOG
The log's level, for parts too: \fIinfo,zookeeper_client=debug\fR. It overrides \fIlog.level\fR.
.SH FILES
.TP
/etc/proxymgr/proxymgr.yml
The configuration that the system's service runs with. Every key, with its default, is explained in
/usr/share/doc/proxymgr/examples/proxymgr.yml.
.TP
/run/proxymgr/control.sock
Where commands such as \fBproxymgr status\fR speak to the running process; in \fIruntime_dir\fR, its owner's alone.
.SH SEE ALSO
.BR haproxy (1),
.BR systemctl (1)
";

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: generate_manual DIRECTORY");
        return ExitCode::from(64);
    };
    match generate(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate_manual {}: {error}", Path::new(&directory).display());
            ExitCode::FAILURE
        }
    }
}

fn generate(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut description = description().disable_help_subcommand(true);
    description.build();
    write_page(&description, directory, DAEMON_SECTIONS)?;
    for command in description.get_subcommands().filter(|command| !command.is_hide_set()) {
        write_page(command, directory, "")?;
    }
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut for_people(), "proxymgr", directory)?;
    }
    Ok(())
}

/// Without the commands that programs use alone, which `clap_complete` would offer.
fn for_people() -> Command {
    let all = description().disable_help_subcommand(true);
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("proxymgr")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(shown)
}

/// One page for each command, `proxymgr-run.1`, as git has them.
fn write_page(command: &Command, directory: &Path, more: &str) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let source = concat!("proxymgr ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("ProxyMgr");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() {
        let mut notes = Vec::new();
        man.render_extra_section(&mut notes)?;
        let notes = String::from_utf8_lossy(&notes).replacen(".SH EXTRA", ".SH NOTES", 1);
        page.write_all(notes.as_bytes())?;
    }
    page.write_all(more.as_bytes())?;
    fs::write(directory.join(format!("{name}.1")), page)
}
