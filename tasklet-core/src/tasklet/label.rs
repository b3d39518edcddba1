//! Where a tasklet was made, and its name if it has one, in one word: a million tasklets without a name pay nothing for the names of others.

use std::panic::Location;
use std::ptr::NonNull;

/// A pointer to the place where the tasklet was made; or, with the lowest bit set, to a box with that and the name.
pub(super) struct Label(NonNull<()>);

// SAFETY: it is a reference to what lives for ever, or owns a box of such a reference and a text.
unsafe impl Send for Label {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Label {}

struct Named {
    site: &'static Location<'static>,
    name: Box<str>,
}

const NAMED: usize = 1;

const _: () = assert!(align_of::<Location<'static>>() > NAMED && align_of::<Named>() > NAMED);

impl Label {
    #[inline]
    pub(super) fn new(site: &'static Location<'static>, name: Option<String>) -> Label {
        match name {
            None => Label(NonNull::from(site).cast()),
            Some(name) => Label::named(site, name),
        }
    }

    #[cold]
    fn named(site: &'static Location<'static>, name: String) -> Label {
        let named = NonNull::from(Box::leak(Box::new(Named { site, name: name.into_boxed_str() })));
        Label(named.cast().map_addr(|address| address | NAMED))
    }

    pub(super) fn site(&self) -> &'static Location<'static> {
        // SAFETY: the box is this label's, and lives.
        let named = || unsafe { self.as_named().expect("it has the bit").as_ref() }.site;
        self.at_hand().get().unwrap_or_else(named)
    }

    #[inline]
    pub(super) fn at_hand(&self) -> Site {
        Site(self.0)
    }

    #[inline]
    pub(super) fn name(&self) -> Option<&str> {
        // SAFETY: as in `site`.
        self.as_named().map(|named| &*unsafe { named.as_ref() }.name)
    }

    #[inline]
    fn as_named(&self) -> Option<NonNull<Named>> {
        let is_named = self.0.addr().get() & NAMED != 0;
        // The box is not at the lowest address.
        is_named.then(|| {
            NonNull::new(self.0.as_ptr().map_addr(|address| address & !NAMED)).expect("a box has an address").cast()
        })
    }
}

impl Drop for Label {
    #[inline]
    fn drop(&mut self) {
        if let Some(named) = self.as_named() {
            // SAFETY: from `Box::leak` in `named`, and not used again.
            drop(unsafe { Box::from_raw(named.as_ptr()) });
        }
    }
}

/// Where a tasklet was made, if it has no name: what is at hand of that without looking, for who notes it at each switch.
#[derive(Clone, Copy, Debug)]
pub struct Site(NonNull<()>);

impl Site {
    /// As a pointer, not to be followed.
    #[inline]
    pub fn into_raw(self) -> *mut () {
        self.0.as_ptr()
    }

    /// # Safety
    ///
    /// The pointer is from [`into_raw`](Self::into_raw).
    pub unsafe fn from_raw(raw: NonNull<()>) -> Site {
        Site(raw)
    }

    /// The place; none if the tasklet has a name, whose box may be gone.
    pub fn get(self) -> Option<&'static Location<'static>> {
        // SAFETY: without the bit it comes from a reference that lives for ever.
        (self.0.addr().get() & NAMED == 0).then(|| unsafe { self.0.cast().as_ref() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_word_with_or_without_a_name() {
        let site = Location::caller();
        let (plain, named) = (Label::new(site, None), Label::new(site, Some("a name".to_owned())));
        assert_eq!(size_of::<Label>(), size_of::<usize>());
        assert_eq!((plain.name(), named.name()), (None, Some("a name")));
        assert!([&plain, &named].iter().all(|label| std::ptr::eq(label.site(), site)));
        assert!(std::ptr::eq(plain.at_hand().get().unwrap(), site) && named.at_hand().get().is_none());
    }
}
