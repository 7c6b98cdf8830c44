//! The parts of a cluster, each by itself: what a whole cluster does is shown by the crate `fleet-simulation`.

#[cfg(test)]
mod agent;
#[cfg(test)]
mod decide;
#[cfg(test)]
mod follow;
#[cfg(test)]
mod heart;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod planner;
#[cfg(test)]
mod presence;
#[cfg(test)]
mod sets;
