//! The protocol of leases, queues and words, checked in every state that it can reach with a few workers, updates and
//! failures. `partition` is one partition: who may work on it, and in which order. `evenness` is who should have
//! which, over words that are late or lost, with the very `share_of` that runs.
//!
//! One partition is enough for the first: there a worker may take what is free and give back what it has at any
//! time, which is more than any roster does, so partitions have nothing to do with each other. For the same reason
//! the second needs no queues: whatever the shares are, they are safe.
//!
//! Safety is stateright's `always`. That the work goes on is not its `eventually`, which overlooks cycles and joins
//! (so its own documentation): `graph` looks at the whole graph instead.

mod evenness;
mod graph;
mod partition;
mod tests;
