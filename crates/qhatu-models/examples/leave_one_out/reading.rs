//! The sequences from standard input, and what is said of the items from a folder.

use std::error::Error;
use std::io::stdin;
use std::path::Path;
use std::sync::Arc;

use qhatu_models::{Interactions, ItemLabels, ItemSides, ItemVectors, Purchase, Vocabulary};
use qhatu_schema::{ItemId, ItemIdx};

const DAY: i64 = 86_400_000;

/// The items of a user in order, and when they came, in milliseconds: one at least after the item before.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) items: Vec<ItemIdx>,
    pub(crate) times: Vec<i64>,
}

/// Everything that is known.
pub(crate) struct Known {
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) items: usize,
    sides: Arc<ItemSides>,
}

/// Reads all of it.
pub(crate) fn read(folder: Option<&Path>) -> Result<Known, Box<dyn Error>> {
    let mut sequences: Vec<Sequence> = Vec::new();
    let mut last = String::new();
    for line in stdin().lines().skip(1) {
        let line = line?;
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let [user, item, ..] = fields[..] else { return Err(format!("no tab in {line:?}").into()) };
        if user != last {
            user.clone_into(&mut last);
            sequences.push(Sequence::default());
        }
        let own = sequences.last_mut().ok_or("a line without a user")?;
        let before = own.times.last().copied();
        let since = fields.get(2).map_or(Ok(1), |seconds| seconds.parse::<i64>().map(|s| s * 1000 + 1))?;
        own.times.push(before.map_or(0, |before| before + since));
        own.items.push(ItemIdx(item.parse()?));
    }
    let items = sequences.iter().flat_map(|own| &own.items).map(|item| item.row()).max().unwrap_or(0);
    let sides = Arc::new(folder.map_or(Ok(ItemSides::default()), |folder| sides(folder, items))?);
    Ok(Known { sequences, items, sides })
}

fn sides(folder: &Path, items: usize) -> Result<ItemSides, Box<dyn Error>> {
    let mut sides = ItemSides::default();
    if let Ok(bytes) = std::fs::read(folder.join("text.f32")) {
        let (numbers, _) = bytes.as_chunks::<4>();
        let values: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        sides.text = Some(ItemVectors { width: values.len() / items.max(1), values });
    }
    if let Ok(text) = std::fs::read_to_string(folder.join("categories.tsv")) {
        let of = |line: &str| line.split('\t').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        sides.categories = Some(ItemLabels::new(&text.lines().map(of).collect::<Vec<Vec<String>>>()));
    }
    Ok(sides)
}

impl Known {
    /// What is learned from, and a day later, as the training's validation period, the item before the last.
    pub(crate) fn interactions(&self) -> Result<Interactions, Box<dyn Error>> {
        let ends = self.sequences.iter().filter_map(|own| own.times.last());
        let start = ends.max().map_or(0, |end| end + 1);
        let mut lines = Vec::new();
        for (user, own) in self.sequences.iter().enumerate() {
            let known = own.items.len().saturating_sub(1);
            // The last that is learned from stands right before the period.
            let shift = start - 1 - known.checked_sub(2).map_or(0, |place| own.times[place]);
            for (place, item) in own.items[..known].iter().enumerate() {
                let validates = place + 1 == known;
                let time = if validates { start + DAY } else { own.times[place] + shift };
                let order = lines.len() as u32;
                lines.push(Purchase { time, user: user as u32, order, item: *item });
            }
        }
        let names = (1..=self.items).map(|item| ItemId::new(item.to_string()));
        let vocabulary = Arc::new(Vocabulary::new(names.collect::<Result<Vec<_>, _>>()?));
        let data = Interactions::from_purchases(vocabulary, &lines, start + DAY + 1);
        Ok(data.with_sides(Arc::clone(&self.sides)))
    }

    /// What is learned from alone.
    pub(crate) fn learned(&self) -> Result<Interactions, Box<dyn Error>> {
        let data = self.interactions()?;
        Ok(data.before(data.until - DAY))
    }
}
