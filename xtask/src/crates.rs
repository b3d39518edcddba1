//! The crates of the workspace as data: who may use whom, and who may not write `unsafe`.
//!
//! The shape is a star: everything depends on `tasklet-core`, and only the facade sees more than that. Cargo enforces that
//! an edge is in a manifest; the lint cells enforce that a manifest has no edge that is not here.

/// One member of the workspace.
pub(crate) struct Krate {
    /// Its package name.
    pub(crate) name: &'static str,
    /// Which of our crates it may name in `[dependencies]`. Development dependencies are free: tests see everything.
    pub(crate) may_use: Edges,
    /// Whether its root forbids `unsafe`.
    pub(crate) unsafe_code: UnsafeCode,
    /// What its cell in the `alone` group does.
    pub(crate) alone: Alone,
}

/// Edges to other crates of this workspace.
#[derive(Debug)]
pub(crate) enum Edges {
    /// To these and no others.
    Only(&'static [&'static str]),
    /// To all of them: nothing of ours depends on such a crate.
    Any,
}

/// Whether a crate may contain `unsafe`.
#[derive(PartialEq)]
pub(crate) enum UnsafeCode {
    /// Its root says `#![forbid(unsafe_code)]`.
    Forbidden,
    /// It may, with a `SAFETY` comment on each block.
    Documented,
}

/// What the crate's own cell does after building it without default features.
pub(crate) enum Alone {
    /// Run its tests too.
    Test,
    /// Nothing: its tests are another cell's.
    Build,
}

const CORE: Edges = Edges::Only(&["tasklet-core"]);

/// Every member. A member that is missing here fails `lint/tidy`.
pub(crate) const CRATES: &[Krate] = &[
    Krate {
        name: "tasklet",
        may_use: Edges::Any,
        unsafe_code: UnsafeCode::Forbidden,
        // The facade alone is the `no-backend` cell.
        alone: Alone::Build,
    },
    Krate { name: "tasklet-core", may_use: Edges::Only(&[]), unsafe_code: UnsafeCode::Documented, alone: Alone::Test },
    Krate {
        name: "tasklet-backend-corosensei",
        may_use: CORE,
        unsafe_code: UnsafeCode::Documented,
        alone: Alone::Build,
    },
    Krate { name: "tasklet-backend-context", may_use: CORE, unsafe_code: UnsafeCode::Documented, alone: Alone::Build },
    Krate {
        name: "tasklet-backend-generator",
        may_use: CORE,
        unsafe_code: UnsafeCode::Documented,
        alone: Alone::Build,
    },
    Krate { name: "tasklet-scheduler", may_use: CORE, unsafe_code: UnsafeCode::Documented, alone: Alone::Test },
    Krate { name: "tasklet-bridge", may_use: CORE, unsafe_code: UnsafeCode::Forbidden, alone: Alone::Build },
    Krate { name: "tasklet-channels", may_use: CORE, unsafe_code: UnsafeCode::Documented, alone: Alone::Test },
    Krate { name: "tasklet-sync", may_use: CORE, unsafe_code: UnsafeCode::Documented, alone: Alone::Test },
    Krate { name: "tasklet-io", may_use: CORE, unsafe_code: UnsafeCode::Documented, alone: Alone::Test },
    Krate {
        name: "tasklet-testkit",
        // The suites are generic over a backend, so they may see a scheduler, channels, locks, I/O and bridges but no backend.
        may_use: Edges::Only(&[
            "tasklet-core",
            "tasklet-scheduler",
            "tasklet-channels",
            "tasklet-sync",
            "tasklet-io",
            "tasklet-bridge",
        ]),
        unsafe_code: UnsafeCode::Documented,
        alone: Alone::Build,
    },
    Krate { name: "tasklet-bench", may_use: Edges::Any, unsafe_code: UnsafeCode::Documented, alone: Alone::Test },
    Krate {
        name: "xtask",
        // It builds the others, so it must build when they do not.
        may_use: Edges::Only(&[]),
        unsafe_code: UnsafeCode::Forbidden,
        alone: Alone::Test,
    },
];
