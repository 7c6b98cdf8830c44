//! Whole little clusters, in paused time.
//!
//! `scenarios` are stories with one point each; `random` are worlds in which everything happens that may
//! happen, by the hundred.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod random;
#[cfg(test)]
mod referee;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod world;
