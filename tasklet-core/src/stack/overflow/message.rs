//! The handler's message, put together without allocation.

use super::handler::RunningTasklet;

/// Room for the message with a name of more than 300 bytes.
const CAPACITY: usize = 512;

/// Kept free for what follows the name.
const AFTER_NAME: usize = 160;

/// A message in a fixed buffer; what does not fit is cut off.
pub(super) struct Message {
    bytes: [u8; CAPACITY],
    len: usize,
}

impl Message {
    /// `tasklet 'name' (id 7) overflowed its stack of 131072 bytes; raise it with TaskletBuilder::stack_size`, and a newline; a tasklet that is
    /// swapped has its stack from elsewhere.
    pub(super) fn overflow(tasklet: &RunningTasklet<'_>) -> Message {
        let mut message = Message { bytes: [0; CAPACITY], len: 0 };
        message.push(b"tasklet ");
        if let Some(name) = tasklet.name {
            message.push(b"'");
            message.push_name(name);
            message.push(b"' ");
        }
        message.push(b"(id ");
        message.push_number(tasklet.id);
        message.push(b") overflowed its stack of ");
        message.push_number(tasklet.stack_size as u64);
        message.push(b" bytes; raise it with ");
        message.push(if tasklet.is_swapped { b"Slots::size\n".as_slice() } else { b"TaskletBuilder::stack_size\n" });
        message
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes[self.len..].iter_mut().zip(bytes) {
            *to = *from;
            self.len += 1;
        }
    }

    /// Cuts a long name between characters and marks the cut.
    fn push_name(&mut self, name: &str) {
        let room = CAPACITY - AFTER_NAME - self.len;
        if name.len() <= room {
            self.push(name.as_bytes());
        } else {
            self.push(&name.as_bytes()[..name.floor_char_boundary(room)]);
            self.push(b"...");
        }
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: Option<&str>, id: u64, stack_size: usize) -> String {
        let message = Message::overflow(&RunningTasklet { id, name, stack_limit: 0, stack_size, is_swapped: false });
        String::from_utf8(message.bytes().to_vec()).unwrap()
    }

    #[test]
    fn names_tasklet_size_and_remedy() {
        let expected =
            "tasklet 'parser' (id 7) overflowed its stack of 131072 bytes; raise it with TaskletBuilder::stack_size\n";
        assert_eq!(text(Some("parser"), 7, 131072), expected);
        assert!(text(None, 0, 8192).starts_with("tasklet (id 0) overflowed its stack of 8192 bytes"));
    }

    #[test]
    fn long_names_are_cut_between_characters_and_the_rest_is_kept() {
        let text = text(Some(&"ä".repeat(400)), u64::MAX, usize::MAX);
        assert!(text.contains("ä...' (id 18446744073709551615) overflowed its stack of 18446744073709551615 bytes"));
        assert!(text.ends_with("TaskletBuilder::stack_size\n"));
    }
}
