//! Capabilities and flags: bits of a number.

/// Whether `bits` has `bit`.
#[must_use]
pub fn has(bits: u64, bit: impl Into<u64>) -> bool {
    bits & bit.into() != 0
}

macro_rules! bits {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $value:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum $name {
            $(#[doc = $text] $variant = $value,)*
        }

        impl From<$name> for u64 {
            fn from(bit: $name) -> u64 {
                bit as u64
            }
        }

        impl $name {
            /// The names of those that are in `bits`, as the specification has them.
            #[must_use]
            pub fn names(bits: u64) -> Vec<&'static str> {
                let all = [$((stringify!($variant), $value),)*];
                all.into_iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| name).collect()
            }
        }
    };
}

bits! {
    /// What an agent can do: bits of `AgentToServer.capabilities`.
    AgentCapability {
        ReportsStatus = 0x1 "It reports how it is. All do.",
        AcceptsRemoteConfig = 0x2 "It takes a configuration.",
        ReportsEffectiveConfig = 0x4 "It tells the configuration that it runs.",
        AcceptsPackages = 0x8 "It takes packages.",
        ReportsPackageStatuses = 0x10 "It tells what came of packages.",
        ReportsOwnTraces = 0x20 "It sends its own traces where it is told.",
        ReportsOwnMetrics = 0x40 "It sends its own metrics where it is told.",
        ReportsOwnLogs = 0x80 "It sends its own logs where it is told.",
        AcceptsOpAMPConnectionSettings = 0x100 "It takes settings of this connection.",
        AcceptsOtherConnectionSettings = 0x200 "It takes settings of other connections.",
        AcceptsRestartCommand = 0x400 "It starts again when it is asked to.",
        ReportsHealth = 0x800 "It tells its health.",
        ReportsRemoteConfig = 0x1000 "It tells what came of a configuration.",
        ReportsHeartbeat = 0x2000 "It tells from time to time that it is there.",
        ReportsAvailableComponents = 0x4000 "It tells what components it could run.",
        ReportsConnectionSettingsStatus = 0x8000 "It tells what came of connection settings.",
    }
}

bits! {
    /// What an agent asks for: bits of `AgentToServer.flags`.
    AgentFlag {
        RequestInstanceUid = 0x1 "To be given an id.",
    }
}

bits! {
    /// What a server can do: bits of `ServerToAgent.capabilities`.
    ServerCapability {
        AcceptsStatus = 0x1 "It takes reports. All do.",
        OffersRemoteConfig = 0x2 "It offers configurations.",
        AcceptsEffectiveConfig = 0x4 "It keeps the configuration that an agent runs.",
    }
}

bits! {
    /// What a server asks for: bits of `ServerToAgent.flags`.
    ServerFlag {
        ReportFullState = 0x1 "Everything, also what has not changed.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names() {
        assert_eq!(
            AgentCapability::names(0x403),
            ["ReportsStatus", "AcceptsRemoteConfig", "AcceptsRestartCommand"]
        );
        assert!(has(0x402, AgentCapability::AcceptsRestartCommand) && !has(0x2, ServerFlag::ReportFullState));
    }
}
