//! What sockets of all kinds have in common, written once: macros for types that are an `Async` of std's type.

use std::io;

/// There are other handles, whose owners may be waiting.
#[cold]
pub(crate) fn shared() -> io::Error {
    let message = "cannot give the descriptor away: there are other handles of it; drop them first";
    io::Error::new(io::ErrorKind::ResourceBusy, message)
}

/// Handles, descriptors, and the ways from std's type and back.
macro_rules! socket {
    ($socket:ident, $std:ty, $make:expr, |$inner:ident| $get:expr, $take:expr) => {
        impl $socket {
            /// Another handle of the same socket, which is closed with the last of them.
            ///
            /// # Errors
            ///
            /// None; it has std's signature.
            pub fn try_clone(&self) -> ::std::io::Result<$socket> {
                Ok($socket(self.0.clone()))
            }

            /// The error that is pending, which is taken.
            ///
            /// # Errors
            ///
            /// As in std.
            pub fn take_error(&self) -> ::std::io::Result<Option<::std::io::Error>> {
                self.std().take_error()
            }

            /// Std's socket, which blocks.
            ///
            /// # Errors
            ///
            /// There are other handles, which are not closed by this; or the system refuses.
            pub fn into_std(self) -> ::std::io::Result<$std> {
                let inner = self.0.try_into_inner().map_err(|_| $crate::socket::shared())?;
                let socket: $std = ($take)(inner);
                socket.set_nonblocking(false)?;
                Ok(socket)
            }

            /// An arm that is ready when a read would not have to wait; of a listener, an accept. See
            /// [`Async::readable_arm`](crate::Async::readable_arm).
            pub fn readable_arm(
                &self,
            ) -> impl ::tasklet_core::wait::TypedArm<Output = ::std::io::Result<()>> + use<'_> {
                self.0.readable_arm()
            }

            fn std(&self) -> &$std {
                let $inner = self.0.get_ref();
                $get
            }
        }

        impl ::std::fmt::Debug for $socket {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.std().fmt(f)
            }
        }

        impl ::std::os::fd::AsFd for $socket {
            fn as_fd(&self) -> ::std::os::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl ::std::os::fd::AsRawFd for $socket {
            fn as_raw_fd(&self) -> ::std::os::fd::RawFd {
                ::std::os::fd::AsRawFd::as_raw_fd(self.std())
            }
        }

        impl TryFrom<$std> for $socket {
            type Error = ::std::io::Error;

            /// Makes it non-blocking, for all who share it.
            fn try_from(socket: $std) -> ::std::io::Result<$socket> {
                socket.set_nonblocking(true)?;
                Ok($socket(($make)(socket)))
            }
        }

        impl TryFrom<::std::os::fd::OwnedFd> for $socket {
            type Error = ::std::io::Error;

            /// Makes it non-blocking, for all who share it.
            fn try_from(fd: ::std::os::fd::OwnedFd) -> ::std::io::Result<$socket> {
                <$std>::from(fd).try_into()
            }
        }

        impl TryFrom<$socket> for $std {
            type Error = ::std::io::Error;

            /// See `into_std`.
            fn try_from(socket: $socket) -> ::std::io::Result<$std> {
                socket.into_std()
            }
        }
    };
}

/// Time limits, and the arm for writes.
macro_rules! transfers {
    ($socket:ident) => {
        impl $socket {
            /// An arm that is ready when a write would not have to wait. See [`Async::writable_arm`](crate::Async::writable_arm).
            pub fn writable_arm(
                &self,
            ) -> impl ::tasklet_core::wait::TypedArm<Output = ::std::io::Result<()>> + use<'_> {
                self.0.writable_arm()
            }

            /// How long a read may take; none is for ever, as at first. For this handle and its clones.
            ///
            /// # Errors
            ///
            /// Zero.
            pub fn set_read_timeout(&self, limit: Option<::std::time::Duration>) -> ::std::io::Result<()> {
                self.0.set_read_timeout(limit)
            }

            /// How long a write may take; none is for ever, as at first. For this handle and its clones.
            ///
            /// # Errors
            ///
            /// Zero.
            pub fn set_write_timeout(&self, limit: Option<::std::time::Duration>) -> ::std::io::Result<()> {
                self.0.set_write_timeout(limit)
            }

            /// See [`set_read_timeout`](Self::set_read_timeout).
            ///
            /// # Errors
            ///
            /// None; it has std's signature.
            pub fn read_timeout(&self) -> ::std::io::Result<Option<::std::time::Duration>> {
                Ok(self.0.read_timeout())
            }

            /// See [`set_write_timeout`](Self::set_write_timeout).
            ///
            /// # Errors
            ///
            /// None; it has std's signature.
            pub fn write_timeout(&self) -> ::std::io::Result<Option<::std::time::Duration>> {
                Ok(self.0.write_timeout())
            }
        }
    };
}

/// `Read` and `Write`, on the type and on references.
macro_rules! stream {
    ($socket:ident) => {
        stream!(@impl $socket, $socket);
        stream!(@impl $socket, &$socket);

        impl $socket {
            /// Receives without taking what is received.
            ///
            /// # Scheduling
            ///
            /// As a read.
            ///
            /// # Errors
            ///
            /// As a read.
            ///
            /// # Panics
            ///
            /// As a read.
            pub fn peek(&self, buf: &mut [u8]) -> ::std::io::Result<usize> {
                self.0.read_with(|stream| {
                    Ok(::rustix::net::recv(stream, &mut *buf, ::rustix::net::RecvFlags::PEEK)?.0)
                })
            }

            /// Ends one direction or both. Who waits for it goes on: a read has come to the end, a write fails.
            ///
            /// # Errors
            ///
            /// As in std.
            pub fn shutdown(&self, how: ::std::net::Shutdown) -> ::std::io::Result<()> {
                self.std().shutdown(how)
            }
        }
    };
    (@impl $socket:ident, $on:ty) => {
        impl ::std::io::Read for $on {
            fn read(&mut self, buf: &mut [u8]) -> ::std::io::Result<usize> {
                (&self.0).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [::std::io::IoSliceMut<'_>]) -> ::std::io::Result<usize> {
                (&self.0).read_vectored(bufs)
            }
        }

        impl ::std::io::Write for $on {
            fn write(&mut self, buf: &[u8]) -> ::std::io::Result<usize> {
                (&self.0).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[::std::io::IoSlice<'_>]) -> ::std::io::Result<usize> {
                (&self.0).write_vectored(bufs)
            }

            fn flush(&mut self) -> ::std::io::Result<()> {
                Ok(())
            }
        }
    };
}

/// Closing, and the iterator over connections.
macro_rules! listener {
    ($listener:ident, $stream:ident) => {
        impl $listener {
            /// Accepts again and again, until the listener is [closed](Self::close), or the caller cannot wait any more, as under a cancelled token: that is
            /// the last error then. So a loop that goes on after errors ends.
            pub fn incoming(&self) -> Incoming<'_> {
                Incoming { listener: self, can_wait: true }
            }

            /// Accepts nobody any more, through whatever handle: those who wait in `accept` and those who come later get an error of the kind
            /// [`NotConnected`](::std::io::ErrorKind::NotConnected), and [`incoming`](Self::incoming) ends. Who has connected and was not accepted is
            /// refused.
            ///
            /// The address is free again when the last handle is gone.
            pub fn close(&self) {
                self.0.close_listener();
            }
        }

        impl Iterator for Incoming<'_> {
            type Item = ::std::io::Result<$stream>;

            fn next(&mut self) -> Option<::std::io::Result<$stream>> {
                if !self.can_wait {
                    return None;
                }
                match self.listener.accept() {
                    Err(_) if self.listener.0.is_closed() => None,
                    Err(error) => {
                        self.can_wait = !$crate::accept::cannot_wait(&error);
                        Some(Err(error))
                    }
                    Ok((stream, _)) => Some(Ok(stream)),
                }
            }
        }
    };
}
