//! The `proxymgr` command.

use proxymgr::cli::args::{Command, parse};
use proxymgr::cli::{Exit, run};

fn main() -> Exit {
    match parse(std::env::args_os()) {
        Ok(Command::Run(args)) => run::run(&args),
        Ok(Command::Check(_) | Command::Render(_)) => Exit::Usage,
        Err(exit) => exit,
    }
}
