//! The engine from outside: scenarios, properties and a seeded simulation with faults.

mod model;
mod properties;
mod scenarios;
mod simulation;
mod taking_over;
mod world;
