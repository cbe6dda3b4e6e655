//! A model and the vocabulary it scores, as the two files of a model version.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemId;

use crate::error::{ModelError, misfit};
use crate::interactions::Vocabulary;
use crate::recommender::{Recommender, load_model};

/// The file of the model's tensors and settings.
pub const MODEL_FILE: &str = "model.safetensors";
/// The file of the item ids in order of their numbers, a JSON list.
pub const VOCABULARY_FILE: &str = "vocabulary.json";

/// Name and content of each file.
///
/// # Errors
/// Where the model's tensors do not fit together.
pub fn to_files(
    model: &dyn Recommender,
    vocabulary: &Vocabulary,
) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
    let items = serde_json::to_vec(vocabulary.items()).map_err(|fault| misfit("vocabulary", fault))?;
    Ok(vec![(MODEL_FILE, model.save().to_bytes()?), (VOCABULARY_FILE, items)])
}

/// Reads both files again; `file` gives a file's content by its name.
///
/// # Errors
/// Where one is missing or damaged, or the model scores another number of items than there are names.
pub fn from_files<'a>(
    file: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<(Vocabulary, Box<dyn Recommender>), ModelError> {
    let read = |name| file(name).ok_or_else(|| misfit("files", format!("{name} is missing")));
    let items: Vec<ItemId> =
        serde_json::from_slice(read(VOCABULARY_FILE)?).map_err(|fault| misfit("vocabulary", fault))?;
    let listed = items.len();
    let vocabulary = Vocabulary::new(items);
    let model = load_model(&TensorFile::from_bytes(read(MODEL_FILE)?)?)?;
    if vocabulary.len() != listed || model.catalogue_size() != listed {
        let fault = format!(
            "{listed} items are listed, {} of them different, and the model scores {}",
            vocabulary.len(),
            model.catalogue_size()
        );
        return Err(misfit("vocabulary", fault));
    }
    Ok((vocabulary, model))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interactions::Interactions;
    use crate::popularity::{Config, Popularity};
    use std::sync::Arc;

    #[test]
    fn a_model_comes_back_with_its_names_and_no_others() {
        let names = |count: u32| (1..=count).map(|n| ItemId::new(format!("i{n}")).expect("not empty"));
        let vocabulary = Arc::new(Vocabulary::new(names(3)));
        let model = Popularity::fit(&Interactions::from_purchases(vocabulary.clone(), &[], 0), &Config {});
        let files = to_files(&model, &vocabulary).unwrap();
        let find = |name: &str| files.iter().find(|(known, _)| *known == name).map(|(_, b)| b.as_slice());
        assert_eq!(from_files(find).unwrap().0, *vocabulary);
        let short = serde_json::to_vec(&names(2).collect::<Vec<_>>()).unwrap();
        let cut = |name: &str| if name == VOCABULARY_FILE { Some(short.as_slice()) } else { find(name) };
        assert!(from_files(cut).is_err());
        assert!(from_files(|_| None).is_err());
    }
}
