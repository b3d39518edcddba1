//! What all models have.

/// All orders with up to so many switches of thread that are not asked for.
pub(crate) fn model(switches: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.max_branches = 10_000;
    builder.check(f);
}
