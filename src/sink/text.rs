//! Every sentence of the report and the terminal, in English and Chinese. `{name}` is filled in by [`fill`].

use crate::job::Language;
use crate::stats::MetricKind;

macro_rules! texts {
    ($($name:ident: $en:literal, $zh:literal;)*) => {
        /// One language's sentences.
        pub(super) struct Text { $(pub $name: &'static str),* }
        const EN: Text = Text { $($name: $en),* };
        const ZH: Text = Text { $($name: $zh),* };
        #[cfg(test)]
        const PAIRS: &[(&str, &str, &str)] = &[$((stringify!($name), $en, $zh)),*];
    };
}

texts! {
    lang: "en", "zh-CN";
    colon: ": ", "：";
    list_comma: ", ", "、";
    yes: "yes", "是";
    no: "no", "否";
    title: "{metric}: niche segments and target groups", "{metric}：微细分洞察与目标人群";
    kind_rate: "Share of customers with {metric} = yes", "“{metric}”为“是”的客户比率";
    kind_rate_positive: "Share of customers with {metric} = {positive}", "“{metric}”为“{positive}”的客户比率";
    kind_amount: "{metric} per customer", "客户人均“{metric}”";
    kind_ratio: "{metric} per {denominator}", "每单位“{denominator}”对应的“{metric}”";
    or: " or ", " 或 ";
    contents: "Contents", "目录";

    summary: "Of {customers} customers, the average is {mean}. The run compared {segments} segments and found {highlights} highlights: small groups of customers with a large influence on the figure.",
        "全体 {customers} 位客户（大盘）的均值为 {mean}。本次共比较 {segments} 个微细分，筛选出 {highlights} 个高亮细分：UV 占比小、但对核心指标影响大的客群。";
    summary_validated: "{validated} of them were confirmed on customers who were held out while searching.",
        "其中 {validated} 个通过留出样本验证。";
    summary_validated_all: "All of them were confirmed on customers who were held out while searching.",
        "全部通过留出样本验证。";
    summary_validated_few: "Only {validated} of them were confirmed on customers who were held out while searching.",
        "其中仅 {validated} 个通过留出样本验证。";
    summary_groups: "They were merged into {groups} target groups, which share no customer and cover {assigned} customers ({share}).",
        "这些高亮细分合并为 {groups} 个互不重叠的目标人群，共覆盖 {assigned} 位客户（占大盘 {share}）。";
    summary_one_group: "They make one target group of {assigned} customers ({share}).",
        "这些高亮细分合并为 1 个目标人群，共 {assigned} 位客户（占大盘 {share}）。";
    summary_cells: "All customers were divided into {groups} target groups, merged of the {cells} combinations of {features} that they have. Highlights have no part in these groups; they are told on their own.",
        "全体客户按{features}共有 {cells} 种组合，合并为 {groups} 个互不重叠的目标人群。高亮细分与这些人群的划分无关，单独列出。";
    summary_held_over: "The largest positive influence: {name}, {uv} customers at {held} among those kept aside ({held_lift}); at that, all of them are {impact} above an average audience of that size.",
        "高于大盘、影响最大的人群：{name}，{uv} 位客户，验证客户上为 {held}（{held_lift}）；按此推算，比同等规模的平均客群多贡献 {impact}。";
    summary_held_under: "The largest negative influence: {name}, {uv} customers at {held} among those kept aside ({held_lift}); at that, all of them are {impact} below an average audience of that size.",
        "低于大盘、影响最大的人群：{name}，{uv} 位客户，验证客户上为 {held}（{held_lift}）；按此推算，比同等规模的平均客群少贡献 {impact}。";
    summary_best_over: "The largest positive influence: {name}, {uv} customers at {mean} ({lift}); that is {impact} above an average audience of that size.",
        "高于大盘、影响最大的人群：{name}，{uv} 位客户，指标为 {mean}（{lift}），比同等规模的平均客群多贡献 {impact}。";
    summary_best_under: "The largest negative influence: {name}, {uv} customers at {mean} ({lift}); that is {impact} below an average audience of that size.",
        "低于大盘、影响最大的人群：{name}，{uv} 位客户，指标为 {mean}（{lift}），比同等规模的平均客群少贡献 {impact}。";
    not_held_out: "Nothing was validated: no customers were held out (highlight.holdout = 0). All figures come from the customers that the segments were found on, so they are optimistic.",
        "本次结果未经验证：没有留出验证客户（highlight.holdout = 0）。所有数字都来自发现这些细分时所用的同一批客户，因此会偏乐观。";
    no_highlights: "No segment met all conditions. The funnel below says how many each condition rejected.",
        "没有微细分满足全部条件。下方的筛选漏斗列出了每个条件淘汰的数量。";
    no_groups: "There are no groups, because there are no highlights to merge.", "没有高亮细分可供合并，因此没有目标人群。";
    notes: "Notes", "说明";

    card_customers: "customers", "客户数（UV）";
    card_mean: "average", "大盘均值";
    card_segments: "segments compared", "比较的微细分";
    card_highlights: "highlights", "高亮细分";
    card_validated: "validated", "通过验证";
    card_groups: "target groups", "目标人群";

    drift_base_share: "Share in the run", "原占比";
    drift_none: "in no group", "未归入任何人群";
    drift_rows: "{read} rows read: {assigned} customers in a group, {none} in none; {bad} rows could not be used",
        "共读取 {read} 行：{assigned} 位客户归入人群，{none} 位未归入；{bad} 行无法使用";
    drift_combinations: "{customers} of those in no group have a combination of values that nobody had in the run",
        "未归入者中有 {customers} 位客户的取值组合在原运行中从未出现";
    drift_psi: "population stability index over the groups and none: {psi} (about {chance} by chance; by rule of thumb below 0.1 is little, 0.25 and more is much)",
        "各人群（含未归入）的群体稳定性指数（PSI）：{psi}（仅由随机波动造成时约为 {chance}；经验上低于 0.1 为基本稳定，0.25 及以上为明显变化）";
    drift_values: "Values that are no item of the run; these customers meet no condition on the feature:",
        "以下取值不在原运行的特征取值之内，相应客户不满足该特征上的任何条件：";
    drift_missing: "Missing", "缺失";
    drift_other: "Other", "其他值";
    drift_unseen: "Never seen", "从未出现的值";
    drift_examples: "Most frequent of these", "其中最常见的";
    drift_written: "{customers} customers written to {out}", "已将 {customers} 位客户写入 {out}";

    groups: "Target groups", "目标人群";
    groups_lead: "In order of influence. Each customer is in one group at most; the figures are exact counts over the customers of the audience files. In names, “·” means that both hold and binds closer than “or”.",
        "按影响量排序。每位客户最多归入一个人群；以下数字均为对人群包内客户的精确统计。名称中的“·”表示同时满足，先于“或”。";
    groups_lead_cells: "In order of influence among the customers kept aside. Each customer is in exactly one group; the figures are exact counts over the customers of the audience files. The groups were merged by the metric, among other things, so judge them by the held-out mean: it is an independent check. In names, “·” means that both hold and binds closer than “or”.",
        "按验证客户上的影响量排序。每位客户归入且仅归入一个人群；以下数字均为对人群包内客户的精确统计。人群的合并参考了指标本身，请以验证集数字为准：它是独立的检验。名称中的“·”表示同时满足，先于“或”。";
    group: "Group", "人群";
    direction: "Direction", "方向";
    over: "above average", "高于大盘";
    under: "below average", "低于大盘";
    over_short: "above", "高于大盘";
    under_short: "below", "低于大盘";
    uv: "Customers", "UV";
    uv_share: "Share", "UV 占比";
    mean: "Mean", "均值";
    lift: "Lift", "提升度";
    impact: "Impact", "影响量";
    impact_unit: "Impact ({unit})", "影响量（{unit}）";
    held_out_mean: "Held-out mean", "验证集均值";
    all_customers: "All customers", "大盘（全体客户）";

    describe_size: "{uv} customers, {share} of all.", "该人群共{uv}位客户，占大盘{share}。";
    describe_marks: "What marks them: {traits}.", "主要特征：{traits}。";
    describe_kinds: "They meet at least one of {n} conditions, in the order of the customers that each adds: {list}.",
        "满足以下 {n} 类条件之一（按各自新增的客户数排列）：{list}。";
    describe_kinds_more: "They meet at least one of {n} conditions, in the order of the customers that each adds: {list}; and {more} more.",
        "满足以下 {n} 类条件之一（按各自新增的客户数排列）：{list}；另有 {more} 类。";
    describe_also: "More frequent than among others: {traits}.", "明显偏多的还有：{traits}。";
    describe_share: "{trait} ({share} of them; {base} of all customers)", "{trait}（占{share}，大盘{base}）";
    describe_all: "{trait} (all of them; {base} of all customers)", "{trait}（全部客户，大盘{base}）";
    describe_nearly_all: "{trait} (nearly all of them)", "{trait}（几乎全部客户）";
    describe_most: "{trait} (most of them)", "{trait}（多数客户）";
    describe_around: "({trait})", "（{trait}）";
    describe_and: " and ", "且";
    describe_semicolon: "; ", "；";
    describe_seldom: "Rare among them: {traits}.", "明显偏少的有：{traits}。";
    describe_never: "Not among them: {traits}.", "完全没有的是：{traits}。";
    describe_comma: ", ", "、";
    describe_or: " or ", "或";
    trait_values: "{feature} = {values}", "{feature}为{values}";
    trait_bands: "{feature} {values}", "{feature}为{values}";
    trait_tags: "{values} among their {feature}", "{feature}含{values}";
    trait_band: "{feature} from {low} to under {high}", "{feature}不低于{low}且低于{high}";
    trait_whole: "{feature} from {low} to {high}", "{feature}为{low}～{high}";
    trait_from: "{feature} of {low} or more", "{feature}不低于{low}";
    trait_below: "{feature} under {high}", "{feature}低于{high}";
    trait_missing: "{feature} unknown", "{feature}缺失";
    missing: "unknown", "缺失";
    describe_what: "{mean} ({factor}): {impact}.", "{mean}，{factor}；{impact}。";
    describe_what_without: "{mean}: {impact}.", "{mean}；{impact}。";
    describe_cells: "On the {uv} of them who were kept aside, an independent check, {mean}{factor}, which {verdict} that they differ. Over all of them it is {whole}, which is optimistic, as the groups were made by it: {impact}.",
        "以留出的验证客户计（其中{uv}位属于该人群，未参与划分，属独立检验），{mean}{factor}，{verdict}。以全部客户计为{whole}（人群的划分参考了指标，该数字偏乐观）；{impact}。";
    describe_everybody: "all customers", "大盘";
    describe_kept_aside: "all kept aside", "全部验证客户";
    describe_confirmed: "confirms", "差异得到证实";
    describe_unconfirmed: "does not confirm", "差异未得到证实";
    describe_factor: " ({factor})", "，{factor}";
    describe_yes: "yes", "“是”";
    describe_rate: "{metric} is {positive} for {mean} of them, against {base} of {all}",
        "该人群“{metric}”为{positive}的比率为{mean}（{all}{base}）";
    describe_rate_under: "{metric} is {positive} for only {mean} of them, against {base} of {all}",
        "该人群“{metric}”为{positive}的比率仅为{mean}（{all}{base}）";
    describe_none: "{metric} is {positive} for none of them, against {base} of {all}",
        "该人群没有一位客户的“{metric}”为{positive}（{all}比率{base}）";
    describe_amount: "their mean {metric} is {mean}, against {base} over {all}",
        "人均“{metric}”为{mean}（{all}{base}）";
    describe_ratio: "their {metric} per {denominator} is {mean}, against {base} over {all}",
        "每单位“{denominator}”对应的“{metric}”为{mean}（{all}{base}）";
    describe_times: "{lift} times{interval}", "是大盘的{lift}倍{interval}";
    describe_times_kept: "{lift} times{interval}", "是全部验证客户的{lift}倍{interval}";
    describe_interval: "; 95% interval {low} to {high} times", "（95% 置信区间 {low}～{high} 倍）";
    describe_customers: "{n}", "{n}位";
    describe_rate_more: "{impact} more than in an average audience of that size", "与同等规模的平均客群相比，多出{impact}";
    describe_rate_fewer: "{impact} fewer than in an average audience of that size", "与同等规模的平均客群相比，少了{impact}";
    describe_more: "{impact} more in total than an average audience of that size", "与同等规模的平均客群相比，合计多出{impact}";
    describe_less: "{impact} less in total than an average audience of that size", "与同等规模的平均客群相比，合计少了{impact}";
    describe_ratio_more: "{impact} more in total than average customers with as much {denominator}", "与{denominator}合计相同的平均客群相比，多出{impact}";
    describe_ratio_less: "{impact} less in total than average customers with as much {denominator}", "与{denominator}合计相同的平均客群相比，少了{impact}";
    describe_not_held: "The {uv} of them who were kept aside during the search do not show it ({mean}{lift}).",
        "但搜索时留出的验证客户中属于该人群的{uv}位并未表现出这一点（{mean}{lift}）。";
    describe_in_line: "The {uv} of them who were kept aside during the search are in line with it ({mean}{lift}; not an independent check, as only highlights that held there were merged).",
        "搜索时留出的验证客户中有{uv}位属于该人群，结果与此相符（{mean}{lift}；并非独立检验，因为只有在验证客户上成立的高亮细分才会被合并）。";
    describe_beyond: "The {uv} of them who were kept aside during the search show it even more ({mean}{lift}; not an independent check, as only highlights that held there were merged).",
        "搜索时留出的验证客户中有{uv}位属于该人群，表现更为突出（{mean}{lift}；并非独立检验，因为只有在验证客户上成立的高亮细分才会被合并）。";
    describe_weaker: "The {uv} of them who were kept aside during the search show it less ({mean}{lift}); expect what they show.",
        "但搜索时留出的验证客户中属于该人群的{uv}位表现较弱（{mean}{lift}），请以此为准。";
    describe_kept_lift: ", {lift} times the average of all kept aside{interval}", "，是全部验证客户的{lift}倍{interval}";
    describe_kept_interval: ", 95% interval {low} to {high}", "，95% 置信区间 {low}～{high} 倍";
    describe_no_rule: "The rule in short finds them only roughly; use the audience file.", "简要规则只能大致圈出该人群，请使用人群包。";
    describe_split: "Split {list}.", "{list}。";
    describe_from: "by {column}, {value} stands out ({share} of them, {base} of all customers)",
        "从{column}看，{value}尤为突出（占{share}，大盘为{base}）";
    describe_from_comma: "; ", "；";
    describe_besides: "Besides, {list}.", "其他指标方面，{list}。";
    describe_metrics_comma: ", ", "，";
    describe_metrics_and: " and ", "，";
    describe_above: "{name} is above average ({mean} against {base})", "{name}高于大盘（{mean}，大盘为{base}）";
    describe_below: "{name} is below average ({mean} against {base})", "{name}低于大盘（{mean}，大盘为{base}）";
    describe_alike: "{name} is about average", "{name}与大盘相近";
    describe_beside: "{name} is {mean} (against {base})", "{name}为{mean}（大盘为{base}）";
    mix: "Mix by column", "字段构成";
    mix_lead: "How the groups divide by each column asked for (profile.by): the share of the group's customers with the value, and below it the mean of the metric over these. Green is surely more than of all customers, red surely less, the darker the further the index is from 100; a dash stands for fewer customers than may be told, or for a figure that such a one would follow from.",
        "各人群在所选字段（profile.by）上的构成：上行为人群中该取值的占比，下行为这部分客户的指标均值。绿色表示统计上可靠地高于大盘，红色表示低于大盘，颜色越深，TGI 离 100 越远；“–”表示客户过少，或可由该数字推算出客户过少的数字，故不予展示。";
    mix_value: "Value", "取值";
    mix_nobody: "In no group", "未入任何人群";
    mix_tags: "A customer may have several of these, or none.", "一位客户可有多个取值，也可没有。";
    mix_tip: "index {index}; {uv} customers, {of_value} of all with this value", "TGI {index}；{uv} 位客户，占该取值全部客户的 {of_value}";
    group_segments: "Segments merged into it", "合并而来的高亮细分";
    group_segments_cells: "Combinations merged into it", "合并而来的组合";
    profile_up: "Over-represented", "偏高特征";
    profile_down: "Under-represented", "偏低特征";
    profile_note: "In the profiles below the figures are the index (TGI): share in the group over share in all customers, times 100. A bar shows how far it is above 100 or below it; under each bar stand the two shares.",
        "以下画像中，数字为 TGI：人群中的占比 ÷ 大盘中的占比 × 100；条形长度表示高于或低于 100 的幅度，下方依次为人群占比与大盘占比。";
    profile_none: "none", "无";
    secondary: "Other metrics", "其他指标";
    metric: "Metric", "指标";
    of_group: "Group", "人群均值";
    of_all: "All customers", "大盘均值";
    short_rule: "In short", "简要规则";
    short_rule_says: "{rule}. It selects {uv} customers, {precision} of whom are in the group, and finds {recall} of the group.",
        "{rule}。按此规则选出 {uv} 位客户，其中 {precision} 属于该人群，覆盖该人群的 {recall}。";
    short_rule_poor: "Only roughly, so use the audience file: {rule}. It selects {uv} customers, {precision} of whom are in the group, and finds {recall} of the group.",
        "仅能大致圈出，请使用人群包：{rule}。按此规则选出 {uv} 位客户，其中 {precision} 属于该人群，覆盖该人群的 {recall}。";
    rule: "All its segments as SQL", "全部细分条件（SQL）";
    rule_note: "A customer who meets the rules of several groups is assigned to one of them, so this rule may select more customers than the audience file holds. Exactly these are selected by assignment_sql in groups.json.",
        "同时满足多个人群规则的客户只归入其中一个，因此按此规则圈选的人数可能多于人群包；groups.json 中的 assignment_sql 与人群包完全一致。";
    rule_note_cells: "The rule names all combinations of a group and selects exactly the customers of its audience file.",
        "圈选规则列出人群的全部组合，圈出的客户与人群包完全一致。";
    rule_cells: "Rule as SQL", "圈选规则（SQL）";
    audience: "Audience file", "人群包";
    audience_says: "Parquet: id, group, the segment that took the customer, and holdout, which is true of those kept aside to validate (no control group of a programme)",
        "Parquet 格式，列为：客户 id、人群编号、归入所依据的细分，以及 holdout（true 表示留作验证的客户，并非运营对照组）";
    not_confirmed: "not confirmed", "未证实";

    highlights: "Highlights", "高亮细分";
    highlights_lead: "Small share of customers, large influence, unlikely to be chance on the customers searched (the discovery part), and not explained by a simpler segment. Which of them held on the customers kept aside is in the last columns. In brackets: 95 % interval from the discovery part, while customers, mean and lift are of everybody.",
        "UV 占比小、影响大，在用于搜索的客户（发现集）上不太可能出于偶然，且不能由更简单的细分解释；在留出客户上是否成立见最后几列。括号内为发现集上的 95% 置信区间，UV、均值与提升度则按全部客户计算。";
    segment: "Segment", "细分";
    shrunken: "Shrunken lift", "收缩提升度";
    ranked_by: "Ranked by {figure}.", "按{figure}排序。";
    ranked_diverse: "The first {n} are picked so that each adds most to those before it in its direction, so they are different niches; the others follow by what these leave of them.",
        "前 {n} 个依次选取：每次都取同方向上新增贡献最大的细分，因此尽量少重叠；其余的按剔除已覆盖部分后的大小排列。";
    rank_impact: "impact", "影响量";
    rank_lift: "shrunken lift", "收缩提升度";
    rank_per_customer: "impact per customer", "人均影响量";
    rank_profit: "expected profit", "预期利润";
    show: "Show", "显示";
    show_all: "all", "全部";
    added: "new: {impact}", "新增：{impact}";
    profit: "Expected profit", "预期利润";
    harm_low: "{name} below average", "{name}偏低";
    harm_high: "{name} above average", "{name}偏高";
    q: "q", "q 值";
    validation: "Held-out lift", "验证集提升度";
    validated: "Validated", "已验证";
    mark_yes: "✓ yes", "✓ 是";
    mark_no: "✗ no", "✗ 否";
    mark_none: "not checked", "未验证";
    folds: "Folded under it", "折叠于其下的细分";

    change: "What changed", "变化归因";
    change_lead: "From {column} = {from} ({uv_before} customers) to {to} ({uv_after} customers) the mean went from {before} to {after}: {change}.",
        "{column} 由 {from}（{uv_before} 位客户）到 {to}（{uv_after} 位客户），均值由 {before} 变为 {after}：{change}。";
    change_none: "No segment explains enough of it surely enough to be told alone.",
        "没有细分能在统计上可靠地单独解释足够大的部分。";
    change_steps: "The segments that explain most of the change, one after the other: each row has the customers that are in no row above it, so all rows add up to the whole change.",
        "依次列出对变化解释力最大的细分：每一行只含未被上方各行包含的客户，因此各行相加恰好等于总变化。";
    change_rest: "everybody else", "其余客户";
    change_features: "The same change divided by one feature at a time, the features first whose values explain most.",
        "按单个特征拆分同一变化，解释力强的特征排在前面。";
    change_feature: "{feature}: {mix} by mix, {rate} by rate", "{feature}：结构效应 {mix}，比率效应 {rate}";
    change_item: "Value", "取值";
    change_further: "{n} further values", "其余 {n} 个取值";
    change_others: "(other values)", "（其他取值）";
    change_mix: "Mix", "结构效应";
    change_rate: "Rate", "比率效应";
    change_contribution: "Contribution", "贡献";
    def_change_mix: "Change of its share × (its mean, averaged over the two periods − the mean of all customers, averaged likewise): it became a larger or smaller part of all customers.",
        "占比变化 ×（两期平均的自身均值 − 两期平均的大盘均值）：该部分客户在大盘中的占比变大或变小带来的影响。";
    def_change_rate: "Its share, averaged over the two periods × change of its mean: its customers do otherwise than before.",
        "两期平均占比 × 自身均值变化：该部分客户自身表现变化带来的影响。";
    def_change_contribution: "Mix + rate. Over all customers, each in one row, the contributions add up to the change of the mean.",
        "结构效应 + 比率效应。每位客户只属于一行时，各行贡献之和等于均值的总变化。";

    migration: "Since the previous run", "与上次运行相比";
    migration_lead: "The previous run had {groups} groups among {customers} customers; {kept} of them are still there and keep their number, and their name where it is still true.",
        "上次运行共有 {customers} 位客户、{groups} 个人群，其中 {kept} 个延续至今，编号不变；名称仍然准确的沿用原名。";
    migration_stayed: "{stayed} of the customers who were in groups ({share}) are in the same one.",
        "原先已归入人群的客户中，{stayed} 位（{share}）仍在原人群。";
    migration_stayed_least: "At least {share} of the customers who were in groups are in the same one.",
        "原先已归入人群的客户中，至少 {share} 仍在原人群。";
    migration_most: "most", "过半";
    migration_group: "{id} ({name})", "{id}（{name}）";
    migration_new: "Group {group} is new: {uv} customers.", "新增人群 {group}：{uv} 位客户。";
    migration_split: "Group {group} split off: {share} of its customers were in group {was}.",
        "人群 {group}由原人群 {was}拆分而来，其客户有 {share} 来自该人群。";
    migration_split_half: "Group {group} split off: at least half of its customers were in group {was}.",
        "人群 {group}由原人群 {was}拆分而来，其客户至少一半来自该人群。";
    migration_joined: "Group {group} has most of the customers of several groups now: {was}.",
        "人群 {group}由多个原人群合并而来，包含以下人群的大部分客户：{was}。";
    migration_renamed: "Group {group} has another name now (was: {was}), as the old one no longer says who is in it.",
        "人群 {group}的原名“{was}”已不能准确说明其成员，现已更名。";
    migration_was: " (was: {was})", "（原名：{was}）";
    migration_vanished: "Group {group} with {uv} customers is no more.", "原人群 {group}（{uv} 位客户）已不存在。";
    migration_vanished_to: "Group {group} with {uv} customers is no more: {parts}.",
        "原人群 {group}（{uv} 位客户）已不存在，客户去向：{parts}。";
    migration_part: "{uv} went to group {group}", "{uv} 位转入人群 {group}";
    migration_part_none: "{uv} are in no group, or no customers any more", "{uv} 位不在任何人群，或已不是客户";
    migration_matrix: "Where the customers of each group went: rows are the groups of the previous run, columns those of this one; below each figure its share of the row.",
        "客户迁移矩阵：行为上次运行的人群，列为本次的人群；数字下方为占该行的比例。";
    migration_before: "Previous group", "上次的人群";
    migration_none_before: "in no group then, or no customer", "上次不在任何人群，或尚不是客户";
    migration_none_after: "in none, or gone", "不在任何人群，或本次表中无此客户";
    migration_withheld: "–, most: not told, as the figure is of fewer than {floor} customers, or such a figure would follow from it.",
        "–、过半：该数字涉及的客户不足 {floor} 位，或可由此推算出这样的数字，故不予展示。";
    mark_new: "new", "新增";
    mark_split: "split from {id}", "拆分自 {id}";
    mark_joined: "joined {ids}", "合并自 {ids}";
    typical: "It keeps the name of earlier runs; named afresh it would be called {name}.",
        "沿用以往运行的名称；若重新命名，应为 {name}。";
    merging_kept: "The {groups} groups are those of the previous run; made afresh, groups would not be clearly better.",
        "沿用上次运行的 {groups} 个人群划分：重新合并并不会明显更好。";
    segment_carried: "segment of the previous run", "上次运行的细分";
    status: "Since the previous run", "与上次相比";
    status_kept: "kept", "延续";

    funnel: "How the highlights were chosen", "高亮细分筛选漏斗";
    funnel_lead: "Each segment counts under the first condition it fails.", "每个细分只计入第一个未通过的条件。";
    step: "Condition", "条件";
    rejected: "Rejected", "淘汰";
    left: "Left", "剩余";
    funnel_segments: "Segments with at least {min_uv} customers (enumerate.min_uv, min_share)", "UV 不少于 {min_uv} 的微细分（enumerate.min_uv、min_share）";
    funnel_uv_share: "Covers at most {value} of the customers (highlight.max_uv_share)", "UV 占比不超过 {value}（highlight.max_uv_share）";
    funnel_impact: "Influence of at least {value} of the metric's total (highlight.min_impact_share)", "影响量不低于指标总量的 {value}（highlight.min_impact_share）";
    funnel_testable: "Can be tested: customers and variation inside and outside of it", "可检验：细分内外都有客户且指标有差异";
    funnel_fdr: "Unlikely to be chance: q at most {value} over {tested} tests (highlight.fdr)", "不太可能是偶然：在 {tested} 次检验中 q 值不超过 {value}（highlight.fdr）";
    funnel_bound: "Even the cautious end of the interval is a lift of {value}, or of its inverse below average (highlight.min_lift)", "置信区间的保守端仍达到 {value}，低于大盘时取其倒数（highlight.min_lift）";
    funnel_new: "Is not exactly the customers of a simpler segment", "与更简单的细分客户不完全相同";
    funnel_gain: "Effect at least {value} that of every simpler segment (highlight.min_gain)", "效应至少为每个更简单细分的 {value}（highlight.min_gain）";
    funnel_folded: "Does not say what a stronger highlight says: overlap below {value} (highlight.max_overlap), and stands out without its customers", "不重复更强的高亮细分：重合度低于 {value}（highlight.max_overlap），且去掉其客户后仍然突出，否则折叠";
    funnel_top: "Is among the {value} that add most (highlight.top)", "新增贡献排名前 {value}（highlight.top）";
    funnel_validated: "Confirmed on held-out customers (of these highlights)", "在验证集上得到证实（在上述高亮细分中）";

    merging: "How the groups came about", "人群合并过程";
    merging_stop: "Merging stopped at {groups} groups. The next merge, at distance {distance}, would have cost {jump} times the average one so far.",
        "合并停在 {groups} 个人群：若继续合并，下一步距离为 {distance}，代价是此前平均每步的 {jump} 倍。";
    merging_few: "Merging ended with {groups} groups ({fewest} to {most} were asked for).", "最终得到 {groups} 个人群（设定范围为 {fewest}–{most} 个）。";
    merge_log: "Merge log ({steps} steps)", "合并日志（共 {steps} 步）";
    merge_log_last: "Merge log (the last {last} of {steps} steps)", "合并日志（共 {steps} 步，仅列最后 {last} 步）";
    more_segments: "and {n} more, in groups.json", "另有 {n} 个，见 groups.json";
    merge_step: "Step", "步骤";
    merge_left: "Joined", "合并对象一";
    merge_right: "With", "合并对象二";
    distance: "Distance", "距离";
    together: "Customers (upper bound)", "UV（上限）";
    highlight_number: "highlight {n}", "高亮细分 {n}";
    result_of: "result of step {n}", "第 {n} 步的结果";
    choices: "Number of groups considered", "备选人群数";
    choices_kept: "Number of groups considered (as in the previous run: {n})", "备选人群数（沿用上次，{n} 个）";
    choice_groups: "Groups", "人群数";
    choice_next: "Distance of the next merge", "下一步合并距离";
    choice_jump: "Jump", "跳升倍数";
    choice_explained: "Variance explained", "解释的方差";
    choice_silhouette: "Silhouette", "轮廓系数";
    choice_smallest: "Smallest group", "最小人群";
    choice_chosen: "Chosen", "选用";

    alternatives: "What other methods would give", "其他方法的结果";
    alternatives_lead: "The same customers divided by two other methods into as many parts, for comparison; nothing else in this report uses them. Both were found on the customers that the highlights were found on, and divide everybody. Groups leave the other customers out: they are made of segments that are small shares with a large influence.",
        "用另外两种方法把同一批客户分成同样多的部分，仅供对照，不影响上文结果。两种方法与高亮细分都只用发现集客户得出，并且划分全部客户；目标人群只由占比小、影响大的细分组成，其余客户不归入任何人群。";
    alternatives_lead_cells: "The same customers divided by two other methods into as many parts, for comparison; nothing else in this report uses them. Both were found on the customers that were not kept aside, and divide everybody, as the groups do.",
        "用另外两种方法把同一批客户分成同样多的部分，仅供对照，不影响上文结果。两种方法都不使用留出的客户得出，并且与目标人群一样划分全部客户。";
    explains_most: "{where} {method} explains most: {share} of the variance, against {groups} by the groups.",
        "{where}解释方差最多的是{method}（{share}），目标人群为{groups}。";
    groups_explain_most: "{where} the groups explain most: {groups} of the variance, against {share} by {method}.",
        "{where}解释方差最多的是目标人群（{groups}），{method}为{share}。";
    where_held_out: "On the customers kept aside", "在留出的客户上，";
    where_all: "On all customers", "在全部客户上，";
    explains_why: "The groups are for something else: they leave out whoever is much like everybody, and pick those whom a programme can be made for, while the others divide everybody.",
        "目标人群另有用途：只挑出与大盘明显不同、可单独运营的客户，而其他方法划分全部客户。";
    explains_simpler: "The decision tree explains as much here with fewer conditions ({tree} against {groups}): where a simple division is wanted, take the tree.",
        "此处决策树以更少的条件（{tree} 个，目标人群为 {groups} 个）解释了同样多的方差：若只需简单划分，可直接采用决策树。";
    method: "Method", "方法";
    method_groups: "Target groups", "目标人群";
    method_kmeans: "k-means", "k-means 聚类";
    method_tree: "Decision tree", "决策树";
    the_tree: "the decision tree", "决策树";
    parts: "Parts", "部分数";
    explained_held_out: "Held out", "验证集上";
    one_more: "With one part more", "多分一部分时";
    in_parts: "Customers in parts", "覆盖的客户";
    smallest: "Smallest", "最小部分";
    largest: "Largest", "最大部分";
    conditions: "Conditions", "条件数";
    lifts_held_out: "Held-out lift, lowest and highest", "验证集提升度（最低与最高）";
    lifts_all: "Lift, lowest and highest", "提升度（最低与最高）";
    tree_leaves: "The leaves of the decision tree", "决策树的叶节点";
    kmeans_parts: "The parts of k-means, by the items that are most over-represented in them", "k-means 的各部分（以其中最突出的特征表示）";
    leaf: "Rule", "规则";
    marks: "Marked by", "突出特征";
    further_items: "and {n} more", "另有 {n} 个";
    def_explained: "Variance explained: the share of the metric's variance over all customers that lies between the parts. Customers of no group are a part too where it is computed, so the other methods have as many with one part more.",
        "解释的方差：指标在全体客户上的方差中，各部分之间的差异所占的比例。计算时未归入人群的客户也算作一部分，因此其他方法多分一部分时，部分数才与之相同。";
    def_conditions: "Conditions: how many it takes to say who belongs to which part. None say it for k-means: it needs all features of a customer.",
        "条件数：说明客户属于哪一部分所需的条件个数。k-means 无法用条件表达，需要客户的全部特征。";

    features: "Features", "特征筛选";
    features_lead: "Which columns were combined, and why others were not.", "哪些字段参与组合，哪些没有以及原因。";
    feature: "Feature", "特征";
    items: "Items", "分箱后取值数";
    distinct: "Distinct values", "原始不同值数";
    null_share: "Missing", "缺失率";
    rest_share: "Too rare", "长尾占比";
    entropy: "Entropy (bits)", "信息熵（bit）";
    evenness: "Evenness", "均匀度";
    influence: "Influence", "影响力";
    combined: "Combined", "是否参与";
    reason: "Reason", "原因";
    reason_kept: "kept", "保留";
    reason_tags: "kept; a customer has a set of them", "保留；一位客户可有多个取值";
    reason_null: "{share} without a value", "{share} 的客户缺失";
    reason_rest: "{share} have a rare value, like an identifier", "{share} 的客户取值过于稀有，类似标识符";
    reason_entropy: "says nearly the same of everybody", "几乎所有客户取值相同";
    reason_redundancy: "{share} of it follows from {by}", "{share} 可由 {by} 推知";
    reason_items: "no value is frequent enough to be an item", "没有足够常见的取值";
    influence_rate: " Influence: information value.", "影响力：信息值（IV）。";
    influence_other: " Influence: share of the metric's variance between items (eta squared).", "影响力：各取值之间的方差占比（η²）。";

    quality: "Data quality", "数据质量";
    rows_read: "rows read", "读取行数";
    rows_kept: "kept", "保留";
    rows_quarantined: "quarantined", "剔除的异常行";
    rows_merged: "merged as duplicates", "合并的重复行";
    rounded: "metric values rounded", "指标值被四舍五入";
    rejects: "Quarantined rows by reason", "异常行剔除原因";
    rows: "Rows", "行数";
    samples: "The first of them", "部分异常行";
    file: "File", "文件";
    row: "Row", "行号";
    column: "Column", "字段";
    columns: "Columns read", "读取的字段";
    nulls: "Without a value", "缺失行数";
    files_read: "Files read", "读取的文件";

    reading: "How to read this report", "如何阅读本报告";
    def_base_word: "All customers", "大盘";
    def_base: "Every customer of the table that was not left out for bad data.", "表中全部客户，不含因数据异常而剔除的部分。";
    def_uv_word: "Customers (UV)", "UV";
    def_uv: "Distinct customers. Share = customers of the segment ÷ all customers.", "去重客户数。UV 占比 = 细分 UV ÷ 大盘 UV。";
    def_lift_word: "Lift", "提升度";
    def_lift: "Mean of the segment ÷ mean of all customers; equally, its share of the metric ÷ its share of the customers. Where the overall mean is not positive, the difference of means is shown instead.",
        "细分均值 ÷ 大盘均值，等价于该细分在指标总量中的份额 ÷ UV 占比。大盘均值不为正时改为显示均值之差。";
    def_impact_word: "Impact", "影响量";
    def_impact: "Customers × (mean of the segment − mean of all customers): what the segment adds over an average audience of its size, in the metric's own unit. Negative where the segment is below average.",
        "UV ×（细分均值 − 大盘均值）：该细分比同等规模的平均客群多贡献（或少贡献）的指标量，单位与指标一致；低于大盘时为负。";
    def_impact_ratio: "Denominator of the segment × (mean of the segment − mean of all customers): what the segment adds over an average audience with the same denominator, in the numerator's unit. Negative where the segment is below average.",
        "细分的分母合计 ×（细分均值 − 大盘均值）：该细分比分母相同的平均客群多贡献（或少贡献）的指标量，单位与分子一致；低于大盘时为负。";
    def_shrunken_word: "Shrunken lift", "收缩提升度";
    def_shrunken: "The lift pulled towards 1 the more, the fewer customers it rests on (empirical Bayes), so that a small segment does not lead by luck.",
        "客户越少，提升度越向 1 收缩（经验贝叶斯），避免小细分凭运气排在前面。";
    def_added_word: "New", "新增";
    def_added: "The impact of those of its customers whom no better-ranked highlight of the same direction covers, where these are not all.",
        "该细分中未被同方向、排名更靠前的高亮细分覆盖的客户的影响量（仅在与全部影响量不同时列出）。";
    def_profit_word: "Expected profit", "预期利润";
    def_profit: "{value} × customers × shrunken effect − {cost} × customers: what a programme for the segment may be expected to bring, less its cost. Of a low performer: what bringing it to the average would.",
        "{value} × 客户数 × 收缩效应 − {cost} × 客户数：针对该细分开展运营的预期收益减去成本。对低表现细分，指把它提升到大盘均值所带来的收益。";
    def_guard_word: "⚠ Guarded metrics", "⚠ 受保护指标";
    def_guard: "A guarded metric is on its bad side in this segment: the whole 95% interval of its difference to all customers.",
        "该细分在受保护指标上表现不利：与大盘差异的 95% 置信区间全部落在不利一侧。";
    def_q_word: "q", "q 值";
    def_q: "Among all segments with a q this small or smaller, the share expected to be chance ({method} over all tests).",
        "在 q 值不大于此值的所有细分中，预期属于偶然的比例（对全部检验做 {method} 校正）。";
    def_validated_word: "Validated", "已验证";
    def_validated: "{share} of the customers were set aside before the search. A highlight is validated when these customers show the same direction and chance is ruled out at {alpha} over all highlights together (Holm).",
        "搜索之前先留出 {share} 的客户。若这些客户表现出相同方向，且在所有高亮细分合计 {alpha} 的错误率下排除偶然（Holm 校正），则视为已验证。";
    def_not_validated: "Nothing was set aside in this run (highlight.holdout = 0), so nothing could be validated.",
        "本次没有留出验证客户（highlight.holdout = 0），因此无法验证。";
    def_index_word: "Index (TGI)", "TGI";
    def_index: "Share of an item in the group ÷ its share in all customers × 100. 100 is average. Items that would describe fewer than {floor} customers are left out.",
        "某特征在人群中的占比 ÷ 在大盘中的占比 × 100，100 为平均水平。涉及客户少于 {floor} 位的特征不予展示。";
    def_cause: "A segment that differs is a place to look, not a cause: the report shows association, and only a test with a control group shows what a programme changes.",
        "细分与指标的差异是关联而非因果；运营动作的真实效果需通过设置对照组的实验来检验。";
}

/// In Chinese the mean of a rate is a share.
const ZH_RATE: Text = Text {
    summary: "全体 {customers} 位客户（大盘）的比率为 {mean}。本次共比较 {segments} 个微细分，筛选出 {highlights} 个高亮细分：UV 占比小、但对核心指标影响大的客群。",
    card_mean: "大盘比率",
    mean: "比率",
    held_out_mean: "验证客户比率",
    mix_lead: "各人群在所选字段（profile.by）上的构成：上行为人群中该取值的占比，下行为这部分客户的指标比率。绿色表示统计上可靠地高于大盘，红色表示低于大盘，颜色越深，TGI 离 100 越远；“–”表示客户过少，或可由该数字推算出客户过少的数字，故不予展示。",
    change_lead: "{column} 由 {from}（{uv_before} 位客户）到 {to}（{uv_after} 位客户），比率由 {before} 变为 {after}：{change}。",
    ..ZH
};

impl Text {
    pub fn of(language: Language) -> &'static Text {
        match language {
            Language::En => &EN,
            Language::Zh => &ZH,
        }
    }

    /// Where a metric of a kind is told.
    pub fn of_kind(language: Language, kind: MetricKind) -> &'static Text {
        match (language, kind) {
            (Language::Zh, MetricKind::Rate) => &ZH_RATE,
            (language, _) => Text::of(language),
        }
    }
}

/// Puts values in the places of their names. Values are not searched for names again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a sentence closes its braces");
        let (_, value) = values.iter().find(|(key, _)| *key == name).expect("a sentence is given all its values");
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(template: &str) -> Vec<&str> {
        let mut names: Vec<&str> = template.split('{').skip(1).filter_map(|part| part.split('}').next()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn both_languages_say_everything_with_the_same_values() {
        for (name, en, zh) in PAIRS {
            assert_eq!(names(en), names(zh), "{name}");
            assert!(!en.is_empty() && !zh.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_said_of_rates_takes_the_same_values() {
        for (rate, general) in [(ZH_RATE.summary, ZH.summary), (ZH_RATE.change_lead, ZH.change_lead)] {
            assert_eq!(names(rate), names(general));
        }
    }

    #[test]
    fn a_value_that_looks_like_a_name_is_left_as_it_is() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "2")]), "{b} and 2");
    }
}
