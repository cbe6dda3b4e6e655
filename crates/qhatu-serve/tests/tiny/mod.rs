//! A small shop made from a seed: products, shoppers with orders, and a model that a reader can check
//! by hand (what shares orders belongs together). For the tests and for `examples/tiny_shop.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use qhatu_models::{History, Reason, Recommender, Scored, Vocabulary, top_k};
use qhatu_schema::{
    Currency, Event, EventId, EventKind, Item, ItemId, ItemIdx, Money, OrderId, Timestamp, UserId,
};
use qhatu_serve::{LoadedModel, ModelSource, ServeError};

/// What each category sells; an order is drawn from one or two of them.
const PRODUCTS: [(&str, [&str; 8]); 4] = [
    (
        "Hogar > Cocina",
        [
            "Taza de cerámica azul",
            "Tetera de vidrio",
            "Juego de cuchillos",
            "Sartén antiadherente",
            "Tabla de picar de bambú",
            "Mortero de piedra",
            "Colador de acero",
            "Fuente para horno",
        ],
    ),
    (
        "Hogar > Decoración",
        [
            "Portavelas colgante",
            "Cojín bordado",
            "Manta de alpaca",
            "Espejo redondo",
            "Guirnalda de luces",
            "Maceta de barro",
            "Reloj de pared",
            "Lámpara de mesa",
        ],
    ),
    (
        "Moda > Accesorios",
        [
            "Chullo de lana",
            "Bufanda de algodón",
            "Bolso tejido",
            "Aretes de plata",
            "Cinturón de cuero",
            "Gorro de lluvia",
            "Pañuelo de seda",
            "Guantes de alpaca",
        ],
    ),
    (
        "Alimentos",
        [
            "Café de Chanchamayo",
            "Cacao en polvo",
            "Quinua tricolor",
            "Miel de Oxapampa",
            "Ají amarillo en pasta",
            "Chocolate al 70 %",
            "Té de muña",
            "Maca en polvo",
        ],
    ),
];

/// The end of the shop's log.
const LAST_DAY: &str = "2026-11-20T12:00:00-05:00";

/// Products, events and a model.
pub(crate) struct TinyShop {
    pub(crate) items: Vec<Item>,
    pub(crate) events: Vec<Event>,
}

/// A generator of numbers for made-up data (Steele and Vigna's SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

impl TinyShop {
    /// 32 products and the orders of 40 shoppers within 200 days.
    pub(crate) fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let items = items(&mut numbers);
        let last = Timestamp::parse(LAST_DAY).unwrap();
        let mut events = Vec::new();
        for shopper in 0..40 {
            let user = UserId::new(format!("cliente-{shopper:02}")).unwrap();
            let taste = numbers.below(PRODUCTS.len());
            for order in 0..2 + numbers.below(7) {
                let age = numbers.below(200 * 24) as i64 * 3_600_000;
                let time = last.plus_millis(-age);
                let category = if numbers.below(4) == 0 { numbers.below(PRODUCTS.len()) } else { taste };
                for line in 0..1 + numbers.below(4) {
                    let item = &items[category * 8 + numbers.below(8).min(numbers.below(8) + 1)];
                    let id = EventId::new(format!("{user}-{order}-{line}")).unwrap();
                    let mut event = Event::new(id, time, EventKind::Purchase);
                    event.user_id = Some(user.clone());
                    event.item_id = Some(item.item_id.clone());
                    event.price = item.price;
                    event.order_id = Some(OrderId::new(format!("{user}-{order}")).unwrap());
                    events.push(event);
                }
            }
        }
        events.sort_by(|a, b| (a.time, &a.event_id).cmp(&(b.time, &b.event_id)));
        Self { items, events }
    }

    /// Both models of the shop.
    pub(crate) fn models(&self) -> Models {
        Models { together: Together::fit(&self.events) }
    }
}

fn items(numbers: &mut Numbers) -> Vec<Item> {
    let mut items = Vec::new();
    for (category, titles) in PRODUCTS {
        for title in titles {
            let id = ItemId::new(format!("P{:03}", items.len() + 1)).unwrap();
            let micros = (10 + numbers.below(190)) as i64 * 1_000_000 - 100_000;
            items.push(Item {
                title: title.to_owned(),
                category: Some(category.to_owned()),
                price: Some(Money::from_micros(micros, Currency::PEN)),
                stock: Some(if items.len() % 11 == 7 { 0 } else { 5 }),
                ..Item::new(id)
            });
        }
    }
    items
}

/// The two models under their aliases.
pub(crate) struct Models {
    together: Together,
}

impl ModelSource for Models {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        Ok(match alias {
            "champion" => Some("tiny@2".to_owned()),
            "challenger" => Some("tiny@1".to_owned()),
            _ => None,
        })
    }

    fn load(&self, alias: &str) -> Result<LoadedModel, ServeError> {
        // The challenger looks at the last item alone.
        let together = Together { last_only: alias == "challenger", ..self.together.clone() };
        Ok(LoadedModel {
            version: self.current(alias)?.unwrap_or_default(),
            vocabulary: Arc::new(Vocabulary::new(self.together.ids.clone())),
            recommender: Box::new(together),
        })
    }
}

/// Counts of shared orders; a score is their sum over the history, the latest items weighing most.
#[derive(Clone, Default)]
struct Together {
    ids: Vec<ItemId>,
    shared: HashMap<(u32, u32), f32>,
    last_only: bool,
}

impl Together {
    fn fit(events: &[Event]) -> Self {
        let mut model = Self::default();
        let mut index: HashMap<&ItemId, u32> = HashMap::new();
        let mut orders: HashMap<&OrderId, Vec<u32>> = HashMap::new();
        for event in events {
            let (Some(id), Some(order)) = (&event.item_id, &event.order_id) else { continue };
            let idx = *index.entry(id).or_insert_with(|| {
                model.ids.push(id.clone());
                model.ids.len() as u32
            });
            orders.entry(order).or_default().push(idx);
        }
        for lines in orders.values() {
            for &a in lines {
                lines.iter().for_each(|&b| *model.shared.entry((a, b)).or_default() += 1.0);
            }
        }
        model
    }

    fn between(&self, a: ItemIdx, b: ItemIdx) -> f32 {
        self.shared.get(&(a.0, b.0)).copied().unwrap_or_default()
    }
}

impl Recommender for Together {
    fn save(&self) -> qhatu_models::TensorFile {
        qhatu_models::TensorFile::default()
    }

    fn name(&self) -> &'static str {
        if self.last_only { "last_item" } else { "together" }
    }

    fn catalogue_size(&self) -> usize {
        self.ids.len()
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        scores.fill(0.0);
        let told = if self.last_only { 1 } else { history.items.len() };
        for (gap, &known) in (1..).zip(history.items.iter().rev().take(told)) {
            for idx in 1..scores.len() as u32 {
                scores[idx as usize] += self.between(known, ItemIdx(idx)) / gap as f32;
            }
        }
        scores[0] = f32::NEG_INFINITY;
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let scores: Vec<f32> =
            (0..=self.ids.len() as u32).map(|idx| self.between(item, ItemIdx(idx))).collect();
        top_k(&scores, k, |other| other == item)
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        let best = history
            .items
            .iter()
            .rev()
            .max_by(|a, b| self.between(**a, item).total_cmp(&self.between(**b, item)));
        best.map_or(Reason::Popular, |&best| Reason::OftenBoughtAfter { item: best })
    }
}
