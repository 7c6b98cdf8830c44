//! A component that misbehaves when told to.

fn main() {}
