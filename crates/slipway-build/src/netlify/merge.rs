//! How two configurations become one: tables deeply, the later one winning; lists replaced as a whole, except lists of
//! plugins, which are merged by package.

use toml::{Table, Value};

/// `later` over `earlier`.
pub(super) fn merge(earlier: &Table, later: &Table) -> Table {
    let mut merged: Table = earlier.iter().map(|(key, value)| (key.clone(), copy(value))).collect();
    for (key, value) in later {
        let value = match earlier.get(key) {
            Some(before) => merge_values(before, value),
            None => copy(value),
        };
        merged.insert(key.clone(), value);
    }
    merged
}

fn merge_values(earlier: &Value, later: &Value) -> Value {
    match (earlier, later) {
        (Value::Table(earlier), Value::Table(later)) => Value::Table(merge(earlier, later)),
        (Value::Array(earlier), Value::Array(later)) => Value::Array(merge_lists(earlier, later)),
        (_, later) => copy(later),
    }
}

fn copy(value: &Value) -> Value {
    match value {
        Value::Table(table) => Value::Table(merge(&Table::new(), table)),
        Value::Array(list) => Value::Array(merge_lists(&[], list)),
        value => value.clone(),
    }
}

fn merge_lists(earlier: &[Value], later: &[Value]) -> Vec<Value> {
    if !(is_plugins(earlier) && is_plugins(later)) {
        return later.to_vec();
    }
    let mut merged: Vec<Table> = Vec::new();
    for plugin in earlier.iter().chain(later).filter_map(Value::as_table) {
        match merged.iter_mut().find(|known| known.get("package") == plugin.get("package")) {
            Some(known) => *known = merge(known, plugin),
            None => merged.push(plugin.clone()),
        }
    }
    merged.into_iter().map(Value::Table).collect()
}

/// An empty list is one too: it adds nothing to plugins, and takes none away.
fn is_plugins(list: &[Value]) -> bool {
    list.iter().all(|entry| entry.get("package").is_some_and(Value::is_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn tables_are_merged_and_lists_replaced() {
        let merged = merge(&table("a = [1, 2]\n[t]\nx = 1\ny = 1\n"), &table("a = [3]\n[t]\ny = 2\n[t.z]\n"));
        assert_eq!(merged, table("a = [3]\n[t]\nx = 1\ny = 2\n[t.z]\n"));
    }

    #[test]
    fn plugins_are_merged_by_package() {
        let base = "[[plugins]]\npackage = \"a\"\n[plugins.inputs]\nx = 1\n[[plugins]]\npackage = \"b\"\n";
        let merged = merge(&table(base), &table("[[plugins]]\npackage = \"a\"\n[plugins.inputs]\ny = 2\n"));
        assert_eq!(merged, table("plugins = [{ package = \"a\", inputs = { x = 1, y = 2 } }, { package = \"b\" }]\n"));
        assert_eq!(merge(&table(base), &table("plugins = []")), table(base));
    }
}
