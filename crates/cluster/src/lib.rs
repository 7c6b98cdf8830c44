//! Machines, jobs, the planner and the reconcilers.
