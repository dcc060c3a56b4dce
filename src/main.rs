//! The `proxymgr` command.

use proxymgr::cli::args::{Command, parse};
use proxymgr::cli::{Exit, check, render, run};

fn main() -> Exit {
    match parse(std::env::args_os()) {
        Ok(Command::Run(args)) => run::run(&args),
        Ok(Command::Check(args)) => check::check(&args),
        Ok(Command::Render(args)) => render::render(&args),
        Err(exit) => exit,
    }
}
