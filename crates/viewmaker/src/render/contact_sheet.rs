//! Many variants of pictures in rows and columns.

use super::Canvas;
use super::image_grid::pixel;

/// A row of a sheet: pictures of the same shape, C × H × W in `[0, 1]`.
#[derive(Clone, Debug)]
pub struct ContactRow<'a> {
    /// What stands to its left.
    pub title: String,
    /// Its pictures.
    pub pictures: Vec<&'a [f32]>,
}

const GAP: usize = 4;
const TITLE: usize = Canvas::GLYPH + 6;
/// Pictures are enlarged to about this many pixels.
const CELL: usize = 64;

/// Rows of pictures with titles of rows and columns (one channel is shown in grey, three in colour, of
/// others the first).
pub fn contact_sheet(
    columns: &[String],
    rows: &[ContactRow<'_>],
    [channels, height, width]: [usize; 3],
) -> Canvas {
    let scale = (CELL / height.max(width).max(1)).max(1);
    let (cell_h, cell_w) = (height * scale, width * scale);
    let widest = rows.iter().map(|row| Canvas::text_width(&row.title, 1));
    let left = widest.max().unwrap_or(0) + 3 * GAP;
    let mut canvas = Canvas::new(
        left + columns.len() * (cell_w + GAP) + GAP,
        TITLE + rows.len() * (cell_h + GAP) + GAP,
    );
    let column_at = |number: usize| left + number * (cell_w + GAP);
    for (number, title) in columns.iter().enumerate() {
        canvas.text_centred((column_at(number) + cell_w / 2, 3), 1, title);
    }
    for (number, row) in rows.iter().enumerate() {
        let y = TITLE + number * (cell_h + GAP);
        canvas.text((GAP, y + cell_h / 2 - Canvas::GLYPH / 2), 1, &row.title);
        for (column, picture) in row.pictures.iter().enumerate() {
            let value = |i: usize| picture.get(i).copied().unwrap_or(f32::NAN);
            canvas.map((column_at(column), y), (height, width), scale, |r, c| {
                pixel(channels, height * width, r * width + c, value)
            });
        }
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_in_their_cells() {
        let (black, white) = (vec![0.0; 4 * 4], vec![1.0; 4 * 4]);
        let rows = [ContactRow {
            title: "fog".to_owned(),
            pictures: vec![&black, &white],
        }];
        let columns = ["a".to_owned(), "b".to_owned()];
        let sheet = contact_sheet(&columns, &rows, [1, 4, 4]);
        let left = 3 * Canvas::GLYPH + 3 * GAP;
        assert_eq!(sheet.width(), left + 2 * (64 + GAP) + GAP);
        assert_eq!(sheet.height(), TITLE + 64 + 2 * GAP);
        assert_eq!(sheet.get(left, TITLE), [0, 0, 0]);
        assert_eq!(sheet.get(left + 63, TITLE + 63), [0, 0, 0]);
        assert_eq!(sheet.get(left + 64 + GAP, TITLE), [255, 255, 255]);
        assert!(contact_sheet(&[], &[], [3, 8, 8]).width() > 0);
    }
}
