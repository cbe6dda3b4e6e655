//! Trees as XGBoost's JSON model, so that nobody is locked in: `xgboost.Booster(model_file=…)` reads it.
//!
//! Its cuts are ours: a value below the border goes left, missing values by the cut's own direction. Of a cut by
//! categories it lists those that go right; a category that training never saw goes left there, and here with the
//! missing values.

use serde_json::{Value, json};

use super::ensemble::{Node, TreeEnsemble};
use super::objective::Objective;

/// What stands for the parent of a root.
const NO_PARENT: i64 = i32::MAX as i64;

impl TreeEnsemble {
    /// The model as XGBoost writes it. A forest is of [`Objective::Squared`]: its margin is the sum of its trees.
    pub fn to_xgboost(&self, objective: Objective, names: &[String]) -> Value {
        let trees: Vec<Value> = (0..self.trees()).map(|number| self.tree_to_xgboost(number)).collect();
        let is_category = |feature: usize| {
            self.nodes.iter().any(|node| node.left != 0 && node.set != 0 && node.feature as usize == feature)
        };
        let kind = |feature: usize| if is_category(feature) { "c" } else { "float" };
        let (name, base_score) = match objective {
            Objective::Logistic => ("binary:logistic", 1.0 / (1.0 + f64::from(-self.base).exp())),
            Objective::Squared => ("reg:squarederror", f64::from(self.base)),
            // Its margins as they are: XGBoost's own ranking objective asks for groups only when it trains.
            Objective::LambdaRank => ("reg:squarederror", f64::from(self.base)),
        };
        json!({
            "version": [2, 1, 1],
            "learner": {
                "attributes": {},
                "feature_names": names,
                "feature_types": (0..self.width).map(kind).collect::<Vec<_>>(),
                "gradient_booster": {
                    "name": "gbtree",
                    "model": {
                        "gbtree_model_param": {
                            "num_parallel_tree": "1",
                            "num_trees": self.trees().to_string(),
                        },
                        "iteration_indptr": (0..=self.trees()).collect::<Vec<_>>(),
                        "tree_info": vec![0; self.trees()],
                        "trees": trees,
                    },
                },
                "learner_model_param": {
                    "base_score": format!("{base_score:E}"),
                    "boost_from_average": "1",
                    "num_class": "0",
                    "num_feature": self.width.to_string(),
                    "num_target": "1",
                },
                "objective": { "name": name, "reg_loss_param": { "scale_pos_weight": "1" } },
            },
        })
    }

    fn tree_to_xgboost(&self, number: usize) -> Value {
        let start = self.roots[number] as usize;
        let end = self.roots.get(number + 1).map_or(self.nodes.len(), |root| *root as usize);
        let nodes = &self.nodes[start..end];
        let child = |node: &Node, side: usize| match node.left {
            0 => -1,
            left => (left as usize - start + side) as i64,
        };
        let mut parents = vec![NO_PARENT; nodes.len()];
        for (place, node) in nodes.iter().enumerate().filter(|(_, node)| node.left != 0) {
            let left = node.left as usize - start;
            parents[left..left + 2].fill(place as i64);
        }
        let (mut categories, mut of, mut segments, mut sizes) = (vec![], vec![], vec![], vec![]);
        for (place, node) in nodes.iter().enumerate().filter(|(_, node)| node.left != 0 && node.set != 0) {
            let right = self.categories_right(node);
            of.push(place);
            segments.push(categories.len());
            sizes.push(right.len());
            categories.extend(right);
        }
        let is_cut = |node: &Node| node.left != 0;
        let each = |value: &dyn Fn(&Node) -> Value| nodes.iter().map(value).collect::<Vec<Value>>();
        json!({
            "id": number,
            "base_weights": each(&|node| json!(if is_cut(node) { 0.0 } else { node.threshold })),
            "categories": categories,
            "categories_nodes": of,
            "categories_segments": segments,
            "categories_sizes": sizes,
            "default_left": each(&|node| json!(u8::from(is_cut(node) && node.missing_left))),
            "left_children": each(&|node| json!(child(node, 0))),
            "right_children": each(&|node| json!(child(node, 1))),
            "parents": parents,
            "loss_changes": vec![0.0; nodes.len()],
            "split_conditions": each(&|node| json!(node.threshold)),
            "split_indices": each(&|node| json!(if is_cut(node) { node.feature } else { 0 })),
            "split_type": each(&|node| json!(u8::from(is_cut(node) && node.set != 0))),
            "sum_hessian": each(&|node| json!(node.cover)),
            "tree_param": {
                "num_deleted": "0",
                "num_feature": self.width.to_string(),
                "num_nodes": nodes.len().to_string(),
                "size_leaf_vector": "1",
            },
        })
    }
}
