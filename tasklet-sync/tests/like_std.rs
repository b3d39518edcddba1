//! Types that have their names from std have its traits too. What is not so does not compile.

use std::fmt::{Debug, Display};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// The same statements for std's types and for ours.
macro_rules! like_std {
    ($test:ident, $sync:ident, $cell:ident) => {
        #[test]
        fn $test() {
            use $sync::{
                Barrier, BarrierWaitResult, Condvar, LazyLock, LockResult, Mutex, MutexGuard, Once, OnceState,
                PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockResult, WaitTimeoutResult,
                $cell as Cell,
            };

            fn everywhere<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin>() {}
            fn shown<T: Debug + Display + Sync>() {}
            fn whole<T: Debug + Default + From<u8>>() {}

            everywhere::<Mutex<u8>>();
            everywhere::<Mutex<std::cell::Cell<u8>>>();
            everywhere::<RwLock<u8>>();
            everywhere::<Condvar>();
            everywhere::<Barrier>();
            everywhere::<Once>();
            everywhere::<Cell<u8>>();
            everywhere::<LazyLock<u8>>();
            whole::<Mutex<u8>>();
            whole::<RwLock<u8>>();
            whole::<Cell<u8>>();
            shown::<MutexGuard<'_, u8>>();
            shown::<RwLockReadGuard<'_, u8>>();
            shown::<RwLockWriteGuard<'_, u8>>();

            static MUTEX: Mutex<Vec<u8>> = Mutex::new(Vec::new());
            static LOCK: RwLock<u8> = RwLock::new(1);
            static CHANGED: Condvar = Condvar::new();
            static ONCE: Once = Once::new();
            static CELL: Cell<u8> = Cell::new();
            static LAZY: LazyLock<u8> = LazyLock::new(|| 7);
            static BARRIER: Barrier = Barrier::new(1);

            // Unsized, by coercion.
            let dynamic: Arc<Mutex<dyn Debug + Send>> = Arc::new(Mutex::new(3));
            assert_eq!(format!("{:?}", &*dynamic.lock().unwrap()), "3");
            let slice: &RwLock<[u8]> = &RwLock::new([1, 2]);
            assert_eq!(slice.read().unwrap().len(), 2);

            let result: LockResult<MutexGuard<'_, Vec<u8>>> = MUTEX.lock();
            let guard = result.unwrap_or_else(PoisonError::into_inner);
            let (guard, ended): (_, WaitTimeoutResult) =
                CHANGED.wait_timeout(guard, std::time::Duration::ZERO).unwrap();
            assert!(ended.timed_out() && guard.is_empty());
            let again: TryLockResult<MutexGuard<'_, Vec<u8>>> = MUTEX.try_lock();
            assert_eq!(again.unwrap_err().to_string(), "try_lock failed because the operation would block");
            assert!(format!("{MUTEX:?}").contains("<locked>"));
            drop(guard);
            assert!(format!("{MUTEX:?}").starts_with("Mutex { data: [], poisoned: false"));
            assert_eq!(format!("{} {:?}", LOCK.read().unwrap(), LOCK.read().unwrap()), "1 1");
            let written = RwLockWriteGuard::downgrade(LOCK.write().unwrap());
            assert_eq!(*written, 1);

            assert_eq!((CELL.set(1), CELL.set(2), *CELL.wait()), (Ok(()), Err(2), 1));
            assert_eq!((CELL.clone(), format!("{CELL:?}").contains("(1)")), (Cell::from(1), true));
            let mut cell = Cell::from(5);
            *cell.get_mut().unwrap() += 1;
            assert_eq!((cell.take(), cell.get().is_none(), cell.into_inner()), (Some(6), true, None));
            assert_eq!(format!("{LAZY:?}"), "LazyLock(<uninit>)");
            assert_eq!((*LAZY, *LazyLock::force(&LAZY)), (7, 7));

            let leader: BarrierWaitResult = BARRIER.wait();
            assert!(leader.is_leader());
            let poisons = std::panic::catch_unwind(|| ONCE.call_once(|| std::panic::resume_unwind(Box::new(()))));
            assert!(poisons.is_err() && !ONCE.is_completed());
            assert!(std::panic::catch_unwind(|| ONCE.call_once(|| ())).is_err());
            ONCE.call_once_force(|state: &OnceState| assert!(state.is_poisoned()));
            ONCE.wait();
            ONCE.wait_force();

            let mut mutex = Mutex::from(4);
            *mutex.get_mut().unwrap() += 1;
            assert!(!mutex.is_poisoned());
            mutex.clear_poison();
            assert_eq!(mutex.into_inner().unwrap(), 5);
            let mut lock = RwLock::<u8>::default();
            *lock.get_mut().unwrap() += 1;
            assert!(!lock.is_poisoned());
            lock.clear_poison();
            assert!(lock.try_read().is_ok() && lock.try_write().is_ok());
            assert_eq!(lock.into_inner().unwrap(), 1);
        }
    };
}

mod standard {
    pub(crate) use std::sync::*;
}

like_std!(std_is_as_described, standard, OnceLock);
like_std!(ours_are_as_stds, tasklet_sync, OnceCell);
