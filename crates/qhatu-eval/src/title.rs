//! How a text model reads a few titles: which pieces of each make it like the title that it is most like, and where its
//! attention goes. Whoever knows the text model fills it in; here are only pieces and numbers, and what the page shows.

use serde::{Deserialize, Serialize};

/// Most pieces of a title whose map of attention is drawn; the table has all of them.
const MOST_DRAWN: usize = 40;
/// Units of the table's bars: the whole, and each half of one that goes both ways.
const BAR: f64 = 120.0;
/// Units of a cell of the map, and of the margins with the pieces' names.
const CELL: usize = 18;
const LEFT: usize = 110;
const TOP: usize = 90;
/// Attention below this is not drawn.
const FAINT: f64 = 0.01;

/// What a text model makes of an item's title.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TitleReading {
    /// The item.
    pub item: String,
    /// Its title.
    pub title: String,
    /// The item with another title whose vector is nearest.
    pub nearest: String,
    /// The title of that one.
    pub nearest_title: String,
    /// The cosine of both titles' vectors.
    pub likeness: f64,
    /// The title's pieces, as the model reads them.
    pub pieces: Vec<PieceReading>,
    /// How much each piece (row) looks at each (column), mean over blocks and heads; each row sums to 1.
    pub attention: Vec<Vec<f64>>,
}

/// A piece of a title.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PieceReading {
    /// The piece.
    pub text: String,
    /// Its share in the vector (attention rollout); those of a title sum to 1.
    pub share: f64,
    /// What it adds to the likeness, in first order; below zero it takes away.
    pub adds: f64,
}

/// A reading as the page shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    title: String,
    nearest_title: String,
    likeness: String,
    rows: Vec<Row>,
    map: Option<Map>,
}

/// A piece's line: figures, and bars in the SVG's units.
#[derive(Debug, Serialize)]
struct Row {
    piece: String,
    adds: String,
    takes_away: bool,
    from: String,
    width: String,
    share: String,
    share_width: String,
    looks_at: Option<(String, String)>,
}

/// Who looks at whom.
#[derive(Debug, Serialize)]
struct Map {
    width: usize,
    height: usize,
    /// Each piece with the place of its row's and its column's name.
    names: Vec<(String, usize, usize)>,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    x: usize,
    y: usize,
    opacity: String,
    says: String,
}

impl Picture {
    pub(crate) fn of(reading: &TitleReading) -> Self {
        let most = |of: fn(&PieceReading) -> f64| reading.pieces.iter().map(of).fold(1e-9, f64::max);
        let largest = (most(|piece| piece.adds.abs()), most(|piece| piece.share));
        let row = |(place, piece)| row(reading, place, piece, largest);
        Self {
            title: reading.title.clone(),
            nearest_title: reading.nearest_title.clone(),
            likeness: format!("{:.3}", reading.likeness),
            rows: reading.pieces.iter().enumerate().map(row).collect(),
            map: map(reading),
        }
    }
}

fn row(reading: &TitleReading, place: usize, piece: &PieceReading, largest: (f64, f64)) -> Row {
    let half = BAR / 2.0;
    let width = piece.adds.abs() / largest.0 * half;
    let looks = reading.attention.get(place).and_then(|row| {
        let (at, share) = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        Some((reading.pieces.get(at)?.text.clone(), percent(*share)))
    });
    Row {
        piece: piece.text.clone(),
        adds: format!("{:+.3}", piece.adds),
        takes_away: piece.adds < 0.0,
        from: format!("{:.1}", if piece.adds < 0.0 { half - width } else { half }),
        width: format!("{width:.1}"),
        share: percent(piece.share),
        share_width: format!("{:.1}", piece.share.max(0.0) / largest.1 * BAR),
        looks_at: looks,
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}

fn map(reading: &TitleReading) -> Option<Map> {
    let count = reading.pieces.len();
    if count > MOST_DRAWN || reading.attention.len() != count {
        return None;
    }
    let place = |number: usize| number * CELL + CELL / 2;
    let cells = reading.attention.iter().enumerate().flat_map(|(row, shares)| {
        let drawn = shares.iter().take(count).enumerate().filter(|(_, share)| **share >= FAINT);
        drawn.map(move |(column, share)| Cell {
            x: LEFT + column * CELL,
            y: TOP + row * CELL,
            opacity: format!("{:.2}", share.min(1.0).sqrt()),
            says: format!(
                "{} → {}: {} %",
                reading.pieces[row].text,
                reading.pieces[column].text,
                percent(*share)
            ),
        })
    });
    let name = |(number, piece): (usize, &PieceReading)| {
        (piece.text.clone(), TOP + place(number) + 4, LEFT + place(number) + 4)
    };
    Some(Map {
        width: LEFT + count * CELL + LEFT,
        height: TOP + count * CELL,
        names: reading.pieces.iter().enumerate().map(name).collect(),
        cells: cells.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(pieces: &[(&str, f64, f64)], attention: Vec<Vec<f64>>) -> TitleReading {
        let piece = |(text, share, adds): &(&str, f64, f64)| PieceReading {
            text: (*text).to_owned(),
            share: *share,
            adds: *adds,
        };
        TitleReading { pieces: pieces.iter().map(piece).collect(), attention, ..TitleReading::default() }
    }

    #[test]
    fn what_takes_away_lies_left_of_the_middle_and_bears_a_minus() {
        let shown = Picture::of(&reading(&[("café", 0.75, 0.4), ("##s", 0.25, -0.1)], Vec::new()));
        let bars: Vec<(&str, &str, &str)> =
            shown.rows.iter().map(|row| (row.from.as_str(), row.width.as_str(), row.adds.as_str())).collect();
        assert_eq!(bars, [("60.0", "60.0", "+0.400"), ("45.0", "15.0", "-0.100")]);
        assert_eq!((shown.rows[0].share_width.as_str(), shown.rows[1].share.as_str()), ("120.0", "25"));
        assert!(shown.map.is_none() && shown.rows[0].looks_at.is_none(), "there is no attention to draw");
    }

    #[test]
    fn the_map_has_a_cell_for_whatever_is_looked_at() {
        let attention = vec![vec![0.0, 1.0], vec![0.25, 0.75]];
        let shown = Picture::of(&reading(&[("a", 0.5, 0.0), ("b", 0.5, 0.0)], attention));
        let map = shown.map.unwrap();
        let says: Vec<&str> = map.cells.iter().map(|cell| cell.says.as_str()).collect();
        assert_eq!(says, ["a → b: 100 %", "b → a: 25 %", "b → b: 75 %"]);
        assert_eq!(map.cells[1].opacity, "0.50");
        assert_eq!(shown.rows[1].looks_at, Some(("b".to_owned(), "75".to_owned())));
        assert_eq!(shown.rows[0].width, "0.0", "nothing adds anything");
    }

    #[test]
    fn a_long_title_has_its_table_alone() {
        let pieces = vec![("a", 0.02, 0.1); 50];
        let shown = Picture::of(&reading(&pieces, vec![vec![0.02; 50]; 50]));
        assert!(shown.map.is_none() && shown.rows.len() == 50);
    }
}
