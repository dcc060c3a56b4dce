//! The `proxymgr` command.

fn main() {}
