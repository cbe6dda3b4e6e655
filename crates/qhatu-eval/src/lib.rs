//! How good is it: splits, metrics, intervals, report.
