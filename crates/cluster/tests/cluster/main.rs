//! The parts of a cluster, each by itself: what a whole cluster does is shown by the crate `fleet-simulation`.

#[cfg(test)]
mod planner;
