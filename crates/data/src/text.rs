//! Texts as what a network reads: a page of bytes.
//!
//! A page has [`PAGE`] channels, lines and columns. Each word of a text stands on a line of its own,
//! one byte of its UTF-8 form a column; longer words go on on the next line, and what does not fit on
//! the page is left out. The eight bits of a byte are the channels, +1 for one and −1 for zero; a place
//! without a byte is 0. Upper and lower case of ASCII letters are the same.

/// Channels, lines and columns of a page.
pub const PAGE: [usize; 3] = [8, 16, 16];

/// Writes `text` onto a page, C × H × W in C order.
///
/// # Panics
/// When `page` has another length than a page.
pub fn write(text: &str, page: &mut [f32]) {
    let [bits, lines, columns] = PAGE;
    assert_eq!(page.len(), bits * lines * columns, "the length of a page");
    page.fill(0.0);
    let words = text.split_whitespace();
    let rows = words.flat_map(|word| word.as_bytes().chunks(columns));
    for (line, row) in rows.take(lines).enumerate() {
        for (column, byte) in row.iter().enumerate() {
            let byte = byte.to_ascii_lowercase();
            for bit in 0..bits {
                let value = if byte >> bit & 1 == 1 { 1.0 } else { -1.0 };
                page[(bit * lines + line) * columns + column] = value;
            }
        }
    }
}

/// The pages of some texts, one after the other.
pub fn pages<T: AsRef<str>>(texts: &[T]) -> Vec<f32> {
    let len = PAGE.iter().product::<usize>();
    let mut pages = vec![0.0; texts.len() * len];
    for (text, page) in texts.iter().zip(pages.chunks_exact_mut(len)) {
        write(text.as_ref(), page);
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a page back: its lines.
    fn read(page: &[f32]) -> Vec<String> {
        let [bits, lines, columns] = PAGE;
        let byte = |line: usize, column: usize| {
            let bit = |bit: usize| page[(bit * lines + line) * columns + column];
            let value: u8 = (0..bits).map(|b| u8::from(bit(b) > 0.0) << b).sum();
            (bit(0) != 0.0).then_some(value)
        };
        let row = |line| {
            (0..columns)
                .map_while(|column| byte(line, column))
                .collect()
        };
        let rows = (0..lines).map(|line| String::from_utf8(row(line)).unwrap());
        rows.take_while(|row| !row.is_empty()).collect()
    }

    #[test]
    fn words_stand_on_lines_and_can_be_read_back() {
        let pages = pages(&[
            "A bright  Star\non dark ground",
            "",
            "grün abcdefghijklmnopqrst",
        ]);
        let len = PAGE.iter().product::<usize>();
        assert_eq!(
            read(&pages[..len]),
            ["a", "bright", "star", "on", "dark", "ground"]
        );
        assert!(pages[len..2 * len].iter().all(|x| *x == 0.0));
        assert_eq!(
            read(&pages[2 * len..]),
            ["grün", "abcdefghijklmnop", "qrst"]
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let long = "word ".repeat(40);
        assert_eq!(read(&pages(&[long])).len(), PAGE[1]);
    }
}
