//! `/api/fleet/package_policies`: integrations as people set them up.

mod together;

/// What the audit trail calls an integration.
const KIND: &str = "package-policy";
