//! Other methods beside the groups: what is said of them, over raw rows.

use serde_json::Value;

use crate::program::{Dice, Folder, answer, json};

/// A customer: plan (missing for some), city, tags, spend, visits.
struct Customer {
    plan: usize,
    city: usize,
    tags: Vec<&'static str>,
    spend: i64,
    visits: i64,
}

const PLANS: [&str; 6] = ["basic", "plus", "pro", "trial", "企业", ""];
const CITIES: [&str; 4] = ["Paris", "Oslo", "上海", "Lima"];
const TAGS: [&str; 4] = ["travel", "运动", "sale", "pets"];

fn customers(count: usize) -> Vec<Customer> {
    let mut dice = Dice(7);
    let customer = |_| {
        let (plan, city) = (dice.roll(6) as usize, dice.roll(4).min(dice.roll(5)) as usize);
        let tags: Vec<&str> = TAGS.into_iter().filter(|_| dice.roll(3) == 0).collect();
        let more = 4 * i64::from(plan == 2 && city == 2) + 2 * i64::from(tags.contains(&"sale")) - i64::from(plan == 5);
        let visits = 1 + dice.roll(5) as i64;
        Customer { plan, city, spend: (dice.roll(9) as i64 - 6 + more).max(-2) * visits, visits, tags }
    };
    (0..count).map(customer).collect()
}

impl Customer {
    /// Whether a condition of a rule holds.
    fn meets(&self, condition: &Value) -> bool {
        let items = condition["items"].as_array().unwrap();
        let has = |item: &str| match condition["feature"].as_str().unwrap() {
            "plan" => item == if self.plan == 5 { "(missing)" } else { PLANS[self.plan] },
            "city" => item == CITIES[self.city],
            "tags" => self.tags.contains(&item),
            other => panic!("feature {other}"),
        };
        items.iter().any(|item| has(item.as_str().unwrap())) == condition["within"].as_bool().unwrap()
    }
}

fn csv(customers: &[Customer], order: &[usize]) -> String {
    let mut text = String::from("id,plan,city,tags,spend,visits,bought\n");
    for &id in order {
        let Customer { plan, city, tags, spend, visits } = &customers[id];
        let (plan, city, tags, bought) = (PLANS[*plan], CITIES[*city], tags.join("|"), i32::from(*spend > 4));
        text.push_str(&format!("{id},{plan},{city},{tags},{spend},{visits},{bought}\n"));
    }
    text
}

fn job(metric: &str, more: &str) -> String {
    format!(
        r#"
        input = {{ path = "t.csv", id = "id" }}
        output = {{ dir = "out" }}
        {metric}
        features.include = ["plan", "city", "tags"]
        features.tags = {{ separator = "|" }}
        screen = {{ off = true }}
        enumerate = {{ min_uv = 40 }}
        highlight = {{ min_impact_share = 0.0, max_uv_share = 0.3, min_gain = 1.0 }}
        {more}
        "#
    )
}

const METRICS: [&str; 3] = [
    r#"metric = { column = "bought", kind = "rate" }"#,
    r#"metric = { column = "spend", kind = "amount" }"#,
    r#"metric = { column = "spend", denominator = "visits", kind = "ratio" }"#,
];

fn number(of: &Value) -> f64 {
    of.as_f64().unwrap_or_else(|| panic!("{of} is a number"))
}

#[test]
fn leaves_have_the_customers_that_their_rules_say_and_explain_what_they_are_said_to() {
    let folder = Folder::new();
    let all = customers(6_000);
    folder.write("t.csv", csv(&all, &(0..all.len()).collect::<Vec<_>>()));
    for (metric, what) in METRICS.into_iter().zip(["rate", "amount", "ratio"]) {
        let value = |c: &Customer| if what == "rate" { f64::from(c.spend > 4) } else { c.spend as f64 };
        let per = |c: &Customer| if what == "ratio" { c.visits as f64 } else { 1.0 };
        let total = |of: &dyn Fn(&Customer) -> f64, some: &[&Customer]| some.iter().map(|c| of(c)).sum::<f64>();
        let everybody: Vec<&Customer> = all.iter().collect();
        let mean = total(&value, &everybody) / total(&per, &everybody);
        let away = |c: &Customer| value(c) - mean * per(c);
        let variance: f64 = all.iter().map(|c| away(c).powi(2)).sum();

        let groups = json(folder.publish(&job(metric, ""), "-w 2").join("groups.json"));
        let [own, kmeans, tree] = &groups["alternatives"].as_array().unwrap()[..] else { panic!("{groups}") };
        let found = groups["groups"].as_array().unwrap();
        assert!(found.len() >= 2, "{what}: {found:?}");
        for (method, name) in [(own, "groups"), (kmeans, "kmeans"), (tree, "tree")] {
            assert_eq!((&method["method"], &method["count"]), (&name.into(), &found.len().into()), "{what}");
            assert!(number(&method["validation_explained"]) > 0.0, "{what} {name}: {method}");
        }
        let sizes: Vec<i64> = found.iter().map(|group| group["uv"].as_i64().unwrap()).collect();
        assert_eq!(own["uv"], sizes.iter().sum::<i64>());
        assert_eq!(
            (&own["smallest"], &own["largest"]),
            (&(*sizes.iter().min().unwrap()).into(), &(*sizes.iter().max().unwrap()).into())
        );
        let chosen = groups["choices"].as_array().unwrap().iter().find(|choice| choice["chosen"] == true).unwrap();
        assert!((number(&own["explained"]) - number(&chosen["explained"])).abs() < 1e-12);

        let (mut customers, mut between, mut conditions) = (0, 0.0, 0);
        for leaf in tree["parts"].as_array().unwrap() {
            let rule = leaf["rule"].as_array().unwrap();
            let members: Vec<&Customer> = all.iter().filter(|c| rule.iter().all(|one| c.meets(one))).collect();
            assert_eq!(leaf["uv"], members.len(), "{what}: {rule:?}");
            assert!((number(&leaf["metric_sum"]) - total(&value, &members)).abs() < 1e-6, "{what}: {rule:?}");
            customers += members.len();
            between += total(&away, &members).powi(2) / members.len() as f64;
            conditions += rule.len();
        }
        assert_eq!((customers, &tree["conditions"]), (all.len(), &conditions.into()));
        assert!((number(&tree["explained"]) - between / variance).abs() < 1e-9, "{what}");
        assert!(number(&tree["one_more"]["explained"]) > number(&tree["explained"]), "{what}: a further split adds");

        let parts = kmeans["parts"].as_array().unwrap();
        assert_eq!(parts.iter().map(|part| part["uv"].as_u64().unwrap()).sum::<u64>(), 6_000, "{what}");
        let effects = parts.iter().map(|part| number(&part["uv"]) * number(&part["effect"]).powi(2));
        if what != "ratio" {
            assert!((number(&kmeans["explained"]) - effects.sum::<f64>() / variance).abs() < 1e-9, "{what}");
        }
        assert!(number(&tree["explained"]) > number(&kmeans["explained"]), "{what}: only the tree looks at the metric");
    }
}

#[test]
fn other_methods_are_the_same_however_the_rows_are_divided_and_ordered() {
    let folder = Folder::new();
    let all = customers(3_000);
    // Rows in another order are another table, whose groups would be matched to those of the first.
    let job = |metric: &str| job(metric, "merge = { keep = \"nothing\" }");
    let mut order: Vec<usize> = (0..all.len()).collect();
    for metric in METRICS {
        order.sort_unstable();
        folder.write("t.csv", csv(&all, &order));
        let expected = answer(&folder.publish(&job(metric), "-w 1"));
        for layout in ["-w 3", "-w 2 --processes 2"] {
            assert_eq!(answer(&folder.publish(&job(metric), layout)), expected, "{layout}");
        }
        order.sort_by_key(|&customer| Dice(customer as u64).roll(u64::MAX));
        folder.write("t.csv", csv(&all, &order));
        assert_eq!(answer(&folder.publish(&job(metric), "-w 2"))["groups.json"], expected["groups.json"], "{metric}");
    }
}

#[test]
fn without_comparison_nothing_is_said_of_other_methods() {
    let folder = Folder::new();
    folder.write("t.csv", csv(&customers(2_000), &(0..2_000).collect::<Vec<_>>()));
    let told = |more: &str| {
        let run = folder.publish(&job(METRICS[0], more), "-w 2");
        let told = std::fs::read_to_string(run.join("report.html")).unwrap().contains("What other methods would give");
        (json(run.join("groups.json"))["alternatives"].as_array().unwrap().len(), told)
    };
    assert_eq!(told(""), (3, true));
    assert_eq!(told("merge = { compare = false }"), (0, false));
    assert_eq!(
        told("merge = { groups = [1, 1] }").0 > 0,
        json(folder.path("out/latest/groups.json"))["groups"].as_array().unwrap().len() > 1
    );
    // Nobody held out: all of it is of the customers that everything was found on.
    let run = folder.publish(&job(METRICS[0], "").replace("highlight = {", "highlight = { holdout = 0.0,"), "-w 2");
    for method in json(run.join("groups.json"))["alternatives"].as_array().unwrap() {
        assert!(method["validation_explained"].is_null() && method["explained"].is_number(), "{method}");
        assert!(method["lowest"]["effect"].is_number(), "{method}");
    }
}
