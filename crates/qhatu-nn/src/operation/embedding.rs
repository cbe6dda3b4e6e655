//! Embedding (Bengio et al., JMLR 2003): row `id` of a table for each id. Forward gathers,
//! backward adds each row's gradient where it came from.

/// Row `i` of `out` becomes row `ids[i]` of `table`.
///
/// # Shapes
/// `table` any rows × width, `out` ids × width.
///
/// # Panics
/// For an id beyond the table.
pub fn forward(table: &[f32], ids: &[u32], out: &mut [f32], width: usize) {
    assert_eq!(out.len(), ids.len() * width, "a row for each id");
    for (id, row) in ids.iter().zip(out.chunks_exact_mut(width.max(1))) {
        row.copy_from_slice(&table[*id as usize * width..][..width]);
    }
}

/// Adds row `ids[i]` of `table` to row `i` of `out`: for embeddings that are summed.
///
/// # Panics
/// For an id beyond the table.
pub fn add(table: &[f32], ids: &[u32], out: &mut [f32], width: usize) {
    assert_eq!(out.len(), ids.len() * width, "a row for each id");
    for (id, row) in ids.iter().zip(out.chunks_exact_mut(width.max(1))) {
        let from = &table[*id as usize * width..][..width];
        row.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
    }
}

/// Adds row `i` of `d_out` to row `ids[i]` of `d_table`.
///
/// # Panics
/// For an id beyond the table.
pub fn backward(d_out: &[f32], ids: &[u32], d_table: &mut [f32], width: usize) {
    assert_eq!(d_out.len(), ids.len() * width, "a row for each id");
    for (id, row) in ids.iter().zip(d_out.chunks_exact(width.max(1))) {
        let to = &mut d_table[*id as usize * width..][..width];
        to.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_gathered_and_their_gradients_come_home() {
        let table = [0.0, 0.25, 1.0, 1.25, 2.0, 2.25];
        let ids = [2, 0, 2];
        let mut out = [9.0; 6];
        forward(&table, &ids, &mut out, 2);
        assert_eq!(out, [2.0, 2.25, 0.0, 0.25, 2.0, 2.25]);
        add(&table, &[1, 1, 1], &mut out, 2);
        assert_eq!(out, [3.0, 3.5, 1.0, 1.5, 3.0, 3.5]);
        let mut d_table = [1.0; 6];
        backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &ids, &mut d_table, 2);
        assert_eq!(d_table, [4.0, 5.0, 1.0, 1.0, 7.0, 9.0]);
        forward(&table, &[], &mut [], 2);
    }
}
