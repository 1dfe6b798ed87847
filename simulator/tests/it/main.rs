//! The simulator from outside: a bot that is a small webhook server and a Bot API client, and a test
//! that plays the person. One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "clippy's own exception for tests leaves out their helpers")]

mod api;
mod connections;
mod control;
mod delivery;
mod failures;
mod files;
mod harness;
mod lengths;
mod limits;
mod schedule;
mod updates;
mod webhook;
