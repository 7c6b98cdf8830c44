//! Runs units through systemd over D-Bus.
