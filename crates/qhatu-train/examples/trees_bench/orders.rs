//! UCI Online Retail to be ranked: the candidates of each order of the last 28 days by a shopper who bought before, as
//! `lambda_mart` with its own settings learns from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use qhatu_models::{
    Interactions, Purchase, Recommender, Vocabulary, decayed_markov, item_knn, lambda_mart, own_frequency,
    vmis_knn,
};
use qhatu_schema::{DenseColumn, DenseTable, ItemId, ItemIdx, Labels};

use crate::Answer;
use crate::ranking::Ranking;

/// Reads the invoices and lets the orders ask.
pub(crate) fn read(path: &Path) -> Answer<Ranking> {
    let data = interactions(&DenseTable::from(&qhatu_store::read_table(path)?))?;
    let rows = lambda_mart::Rows::gather(&data, &lambda_mart::Config::default(), 1, part)?;
    let shoppers = rows.users.iter().map(|user| user.0).collect();
    Ok(Ranking { columns: rows.columns, labels: rows.labels, groups: rows.groups, shoppers })
}

fn part(name: &str, data: &Interactions) -> Answer<Box<dyn Recommender>> {
    Ok(match name {
        own_frequency::NAME => Box::new(own_frequency::OwnFrequency::fit(data, &Default::default())),
        decayed_markov::NAME => Box::new(decayed_markov::DecayedMarkov::fit(data, &Default::default())),
        item_knn::NAME => Box::new(item_knn::ItemKnn::fit(data, &Default::default())),
        vmis_knn::NAME => Box::new(vmis_knn::VmisKnn::fit(data, &Default::default())?),
        _ => return Err(format!("no model {name:?} here").into()),
    })
}

/// The purchases of known shoppers: no cancellation, no code that is no product, a price above 0; each item once an
/// invoice.
fn interactions(table: &DenseTable) -> Answer<Interactions> {
    let (invoices, codes) = (labels(table, "InvoiceNo")?, labels(table, "StockCode")?);
    let shoppers = labels(table, "CustomerID")?;
    let Some(DenseColumn::Float(prices)) = table.column("UnitPrice") else {
        return Err("there is no number UnitPrice".into());
    };
    let Some(DenseColumn::Time(times)) = table.column("InvoiceDate") else {
        return Err("there is no time InvoiceDate".into());
    };
    let is_kept = |row: &usize| {
        let product = codes.get(*row).starts_with(|first: char| first.is_ascii_digit());
        let paid = !invoices.get(*row).starts_with('C') && prices[*row] > 0.0;
        product && paid && !shoppers.get(*row).is_empty()
    };
    let rows: Vec<usize> = (0..table.rows()).filter(is_kept).collect();
    let known: BTreeSet<&str> = rows.iter().map(|row| codes.get(*row)).collect();
    let ids = known.iter().map(|code| ItemId::new(*code)).collect::<Result<Vec<_>, _>>()?;
    let places: HashMap<&str, u32> = known.into_iter().zip(1..).collect();
    let mut lines = BTreeMap::new();
    for row in rows {
        let (user, order) = (shoppers.codes[row], invoices.codes[row]);
        let item = ItemIdx(places[codes.get(row)]);
        lines.entry((user, order, item)).or_insert(Purchase { time: times[row], user, order, item });
    }
    let lines: Vec<Purchase> = lines.into_values().collect();
    let until = lines.iter().map(|line| line.time).max().map_or(0, |last| last + 1);
    Ok(Interactions::from_purchases(Arc::new(Vocabulary::new(ids)), &lines, until))
}

fn labels<'a>(table: &'a DenseTable, name: &str) -> Answer<&'a Labels> {
    match table.column(name) {
        Some(DenseColumn::Label(labels)) => Ok(labels),
        _ => Err(format!("there is no text {name}").into()),
    }
}
