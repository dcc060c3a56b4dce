//! The engine from outside: scenarios, properties and a seeded simulation with faults.

mod blockers;
mod checker;
mod deadly;
mod fixed_servers;
mod halving;
mod lost_replies;
mod model;
mod operator;
mod properties;
mod report;
mod routes;
mod scenarios;
mod simulation;
mod taking_over;
mod templates;
mod world;
