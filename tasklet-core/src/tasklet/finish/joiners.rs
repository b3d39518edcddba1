//! Those who wait for the end of a tasklet: nearly always nobody or one. Two words and a byte that lies elsewhere; as an enum they would be four
//! words of each tasklet.

use std::mem::ManuallyDrop;

/// Nobody waits.
pub(super) const NONE: u8 = 0;
/// Several do.
const MANY: u8 = 1;
/// One does, of the kind that is left when this is taken away.
const ONE: u8 = 2;

/// A waiter, as what is in it and which kind it is.
pub(in crate::tasklet) trait Parts: Sized {
    /// What is in it.
    type Content;

    /// Takes it apart. The kind is less than 200.
    fn into_parts(self) -> (u8, Self::Content);

    /// # Safety
    ///
    /// The parts come from [`into_parts`](Self::into_parts), and are used once.
    unsafe fn from_parts(kind: u8, content: Self::Content) -> Self;
}

/// What lies in a tasklet, beside the kind.
pub(super) union Stored<W: Parts> {
    none: (),
    one: ManuallyDrop<W::Content>,
    #[expect(clippy::box_collection, reason = "one word, as few tasklets have several")]
    many: ManuallyDrop<Box<Vec<W>>>,
}

impl<W: Parts> Stored<W> {
    /// Of nobody.
    pub(super) const EMPTY: Stored<W> = Stored { none: () };
}

/// The same while somebody looks at it.
#[derive(Default)]
pub(super) enum Joiners<W> {
    #[default]
    None,
    One(W),
    #[expect(clippy::box_collection, reason = "as it is stored")]
    Many(Box<Vec<W>>),
}

impl<W: Parts> Joiners<W> {
    /// What is to be stored, and its kind.
    pub(super) fn into_parts(self) -> (u8, Stored<W>) {
        match self {
            Joiners::None => (NONE, Stored::EMPTY),
            Joiners::One(one) => {
                let (kind, content) = one.into_parts();
                (ONE + kind, Stored { one: ManuallyDrop::new(content) })
            }
            Joiners::Many(list) => (MANY, Stored { many: ManuallyDrop::new(list) }),
        }
    }

    /// # Safety
    ///
    /// The parts come from [`into_parts`](Self::into_parts), and are used once.
    pub(super) unsafe fn from_parts(kind: u8, stored: Stored<W>) -> Joiners<W> {
        // SAFETY: the caller's promise: the kind tells what is there.
        unsafe {
            match kind {
                NONE => Joiners::None,
                MANY => Joiners::Many(ManuallyDrop::into_inner(stored.many)),
                one => Joiners::One(W::from_parts(one - ONE, ManuallyDrop::into_inner(stored.one))),
            }
        }
    }
}

impl<W> Joiners<W> {
    pub(super) fn push(&mut self, joiner: W) {
        *self = match std::mem::take(self) {
            Joiners::None => Joiners::One(joiner),
            Joiners::One(first) => Joiners::Many(Box::new(vec![first, joiner])),
            Joiners::Many(mut list) => {
                list.push(joiner);
                Joiners::Many(list)
            }
        };
    }

    pub(super) fn remove(&mut self, mut is_it: impl FnMut(&W) -> bool) -> Option<W> {
        match self {
            Joiners::One(one) if is_it(one) => match std::mem::take(self) {
                Joiners::One(one) => Some(one),
                _ => None,
            },
            Joiners::Many(list) => {
                let at = list.iter().position(is_it)?;
                Some(list.remove(at))
            }
            _ => None,
        }
    }

    /// Calls `f` with each, the one that came first at first.
    pub(super) fn drain(self, mut f: impl FnMut(W)) {
        match self {
            Joiners::None => {}
            Joiners::One(one) => f(one),
            Joiners::Many(list) => list.into_iter().for_each(f),
        }
    }
}
