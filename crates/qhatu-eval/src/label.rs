//! What people who run a shop call models and groups, in Spanish and English. What is not listed keeps its own name.

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Label {
    pub(crate) es: String,
    pub(crate) en: String,
}

const MODELS: &[(&str, &str, &str)] = &[
    ("popularity", "Lo más vendido", "Best sellers"),
    ("recent_popularity", "Lo más vendido últimamente", "Best sellers of late"),
    ("department_popularity", "Lo más vendido en cada departamento", "Best sellers of each department"),
    ("own_frequency", "Lo que el cliente ya compraba", "What the shopper bought before"),
    ("decayed_markov", "Qué se compra después de qué", "What is bought after what"),
    ("item_knn", "Productos con los mismos compradores", "Products with the same buyers"),
    ("ease", "Productos afines (EASE)", "Kindred products (EASE)"),
    ("als", "Gustos en común (ALS)", "Tastes in common (ALS)"),
    ("text_neighbours", "Productos con títulos parecidos", "Products with similar titles"),
    ("vmis_knn", "Pedidos parecidos (VMIS-kNN)", "Similar orders (VMIS-kNN)"),
    ("vstan", "Visitas parecidas, por orden y fecha (VSTAN)", "Similar visits, by order and date (VSTAN)"),
    ("gru4rec", "Memoria de la secuencia (GRU4Rec)", "Memory of the sequence (GRU4Rec)"),
    ("bert4rec", "Atención a ambos lados (BERT4Rec)", "Attention to both sides (BERT4Rec)"),
    ("sasrec", "Atención a la secuencia (SASRec)", "Attention to the sequence (SASRec)"),
    ("lambda_mart", "Varios modelos, ordenados por árboles", "Several models, sorted by trees"),
    ("blend", "Mezcla aprendida", "Learned blend"),
];

const GROUPS: &[(&str, &str, &str)] = &[
    ("returning", "Clientes conocidos", "Known shoppers"),
    ("new", "Clientes nuevos", "New shoppers"),
    ("1-2", "1 o 2 pedidos", "1 or 2 orders"),
    ("3-5", "3 a 5 pedidos", "3 to 5 orders"),
    ("6-20", "6 a 20 pedidos", "6 to 20 orders"),
    ("21+", "21 pedidos o más", "21 orders or more"),
    ("head", "Los más vendidos", "Best sellers"),
    ("middle", "Los de venta media", "Middle sellers"),
    ("tail", "Los menos vendidos", "Slow sellers"),
    ("unsold", "Aún sin ventas", "Not sold before"),
];

const ABOUT: &[(&str, &str, &str)] = &[
    ("shop", "Tienda", "Shop"),
    ("split", "Prueba (time: los últimos días, para todos)", "Test (time: the last days, for everyone)"),
    ("test_window", "Días de la prueba", "Days of the test"),
    ("returning_shoppers", "Clientes conocidos, evaluados", "Known shoppers judged"),
    ("new_shoppers", "Clientes nuevos, evaluados aparte", "New shoppers, judged apart"),
    ("shoppers_learned_from", "Clientes de los que se aprendió", "Shoppers learned from"),
    ("items", "Productos", "Products"),
    ("purchases", "Compras (líneas)", "Purchases (lines)"),
    ("seed", "Semilla", "Seed"),
    ("data_fingerprint", "Huella de los datos", "Fingerprint of the data"),
    ("code_version", "Versión del programa", "Version of the program"),
];

/// What a line of the report's origin says.
pub(crate) fn about(key: &str) -> Label {
    find(ABOUT, key)
}

/// The name of a model.
pub(crate) fn model(name: &str) -> Label {
    find(MODELS, name)
}

/// The name of a slice's group.
pub(crate) fn group(name: &str) -> Label {
    find(GROUPS, name)
}

fn find(list: &[(&str, &str, &str)], name: &str) -> Label {
    let known = list.iter().find(|(known, ..)| *known == name);
    let (es, en) = known.map_or((name, name), |(_, es, en)| (es, en));
    Label { es: es.to_owned(), en: en.to_owned() }
}
