//! Templates against what Handlebars in JavaScript makes of them.

use serde_json::{Value, json};

use super::Template;

fn rendered(template: &str, variables: &Value) -> String {
    let template =
        Template::read("t.hbs", template.as_bytes()).unwrap_or_else(|error| panic!("{error}: {template}"));
    template.render(variables).unwrap()
}

fn variables() -> Value {
    json!({
        "text": "a<b>&\"c\"", "empty": "", "zero": 0, "one": 1, "float": 1.0, "half": 0.5, "yes": true, "no": false,
        "null": null, "elsewhere": "e", "list": ["x", "y"], "none": [], "object": {"k": "v", "l": {"m": 1}}, "bare": {},
        "people": [{"name": "Ann", "age": 1}, {"name": "Bob", "tags": ["t"]}],
        "ssl": {"mode": "full"}, "quote": "it's", "lines": "a\n b'c\n",
        "_meta": {"stream": {"id": "s-1"}}, "data_stream": {"dataset": "d"},
    })
}

#[test]
fn values_print_as_in_javascript() {
    for (template, wanted) in [
        ("{{text}}|{{{text}}}|{{&text}}", "a<b>&\"c\"|a<b>&\"c\"|a<b>&\"c\""),
        ("{{empty}}{{null}}{{undefined}}{{a.b.c}}{{list.x.y}}{{text.x}}", ""),
        ("{{zero}} {{one}} {{float}} {{half}} {{yes}} {{no}}", "0 1 1 0.5 true false"),
        ("{{list}} {{object}}", "x,y [object Object]"),
        ("{{list.0}} {{list.[1]}} {{list.length}} {{quote.length}}", "x y 2 4"),
        ("{{ssl.mode}} {{ssl/mode}} {{object.l.m}} {{this.one}} {{./one}}", "full full 1 1 1"),
        ("{{_meta.stream.id}} {{data_stream.dataset}} {{@root.one}}", "s-1 d 1"),
        (r"\{{one}} {{one}}", "{{one}} 1"),
        ("a {{! one }}b {{!-- {{x}} --}}c", "a b c"),
        ("a {{~! one ~}} b", "ab"),
        ("a {{~one~}} b", "a1b"),
        ("{{lookup object \"k\"}} {{lookup list 1}} {{lookup people.0 'name'}}", "v y Ann"),
        ("{{log \"x\"}}", ""),
        ("{{elsewhere}}{{#if elsewhere}}{{ elsewhere }}{{/if}}", "ee"),
    ] {
        assert_eq!(rendered(template, &variables()), wanted, "{template}");
    }
}

#[test]
fn blocks_decide_as_in_javascript() {
    for (template, wanted) in [
        ("{{#if yes}}a{{else}}b{{/if}}{{#if no}}a{{else}}b{{/if}}", "ab"),
        ("{{#if zero}}a{{/if}}{{#if zero includeZero=true}}b{{/if}}{{#if one}}c{{/if}}", "bc"),
        (
            "{{#if empty}}a{{/if}}{{#if none}}b{{/if}}{{#if bare}}c{{/if}}{{#if null}}d{{/if}}{{#if x.y}}e{{/if}}",
            "c",
        ),
        ("{{#unless none}}a{{/unless}}{{#unless list}}b{{else}}c{{/unless}}", "ac"),
        ("{{#if no}}a{{else if zero}}b{{else if one}}c{{else}}d{{/if}}", "c"),
        ("{{#if no}}a{{else unless no}}b{{/if}}", "b"),
        ("{{#if no}}a{{^}}b{{/if}}", "b"),
        ("{{#if no}}a{{else each list}}{{this}}{{/if}}", "xy"),
        ("{{#if list.length}}a{{/if}}{{#if none.length}}b{{/if}}", "a"),
        ("{{#with ssl}}{{mode}} {{../one}}{{/with}}{{#with x}}a{{else}}b{{/with}}", "full 1b"),
        ("{{#with ssl as |s|}}{{s.mode}}{{/with}}", "full"),
        ("{{#yes}}a{{/yes}}{{#no}}b{{/no}}{{^no}}c{{/no}}{{^yes}}d{{/yes}}", "ac"),
        ("{{#list}}{{this}}{{.}}{{/list}}{{#none}}a{{else}}b{{/none}}{{^none}}c{{/none}}", "xxyybc"),
        ("{{#object.l}}{{m}}{{/object.l}}{{#ssl}}{{mode}}{{/ssl}}", "1full"),
        ("{{#text}}{{this}}{{/text}}", "a<b>&\"c\""),
        ("{{#contains \"x\" list}}a{{/contains}}{{#contains \"z\" list}}b{{else}}c{{/contains}}", "ac"),
        ("{{#contains \"<b\" text}}a{{/contains}}{{#contains \"x\" missing}}b{{/contains}}", "a"),
        ("{{#contains 'x' list}}a{{/contains}}{{#if (contains \"y\" list)}}b{{/if}}", "ab"),
    ] {
        assert_eq!(rendered(template, &variables()), wanted, "{template}");
    }
}

#[test]
fn loops_run_as_in_javascript() {
    for (template, wanted) in [
        ("{{#each list}}{{@index}}{{@key}}{{this}}{{#unless @last}},{{/unless}}{{/each}}", "00x,11y"),
        ("{{#each list}}{{#if @first}}first {{/if}}{{this}}{{/each}}", "first xy"),
        ("{{#each list as |item i|}}{{i}}{{item}}{{../one}}{{/each}}", "0x11y1"),
        ("{{#each object}}{{@key}};{{/each}}", "k;l;"),
        ("{{#each none}}a{{else}}b{{/each}}{{#each x}}a{{else}}c{{/each}}{{#each text}}d{{/each}}", "bc"),
        ("{{#each people}}{{name}}{{age}}{{one}}.{{/each}}", "Ann1.Bob."),
        (
            "{{#each people}}{{#if tags}}{{#each tags}}{{this}}{{../name}}{{../../one}}{{@../index}}{{/each}}{{/if}}{{/each}}",
            "tBob11",
        ),
        ("{{#each people as |p|}}{{#each p.tags as |t|}}{{p.name}}{{t}}{{/each}}{{/each}}", "Bobt"),
        (
            "{{#each people as |one|}}{{one.name}}{{this.name}}{{../one}};{{/each}}{{one}}",
            "AnnAnn1;BobBob1;1",
        ),
        ("{{#each people}}{{@root.one}}{{#with this}}{{name}}{{/with}}{{/each}}", "1Ann1Bob"),
    ] {
        assert_eq!(rendered(template, &variables()), wanted, "{template}");
    }
}

#[test]
fn tags_that_stand_alone_take_their_line_with_them() {
    for (template, wanted) in [
        ("a:\n{{#each list}}\n  - {{this}}\n{{/each}}\nb: 1\n", "a:\n  - x\n  - y\nb: 1\n"),
        ("a: 1\n{{#if no}}\nb: 1\n{{else}}\nc: 1\n{{/if}}\nd: 1\n", "a: 1\nc: 1\nd: 1\n"),
        ("a: 1\r\n{{#if yes}}\r\nb: 1\r\n{{/if}}\r\nc: 1", "a: 1\nb: 1\nc: 1"),
        ("  {{#if yes}}\n  b: 1\n  {{/if}}\n", "  b: 1\n"),
        ("{{! comment }}\na: 1\n", "a: 1\n"),
        ("{{!-- a\n b --}}\na: 1\n", "a: 1\n"),
        ("{{#each list}}\n{{#if @first}}\n- {{this}}\n{{/if}}\n{{/each}}\n", "- x\n"),
        ("{{#no}}\na\n{{/no}}\n{{^no}}\nb\n{{/no}}\n", "b\n"),
        ("a: {{#if yes}}b{{/if}}\n", "a: b\n"),
    ] {
        assert_eq!(rendered(template, &variables()), wanted, "{template:?}");
    }
}

#[test]
fn helpers_escape() {
    for (template, wanted) in [
        ("{{escape_string quote}} {{escape_string one}} {{escape_string x}}", "'it''s' '1' "),
        ("{{escape_string lines}}", r#""a\n b'c\n""#),
        ("{{escape_multiline_string quote}}|{{escape_multiline_string lines}}", "it''s|a\n\n b''c\n\n"),
        (
            "{{to_json list}} {{to_json object}} {{to_json quote}} {{to_json x}}",
            r#"["x","y"] {"k":"v","l":{"m":1}} "it's" "#,
        ),
        ("{{url_encode \"a b/ü&'()\"}}", "a%20b%2F%C3%BC%26'()"),
    ] {
        assert_eq!(rendered(template, &variables()), wanted, "{template}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (template, line, part) in [
        ("a\n{{#if x}}\nb", 2, "{{#if}} is not closed by {{/if}}"),
        ("a\n{{#if x}}\n{{#each y}}\n{{/if}}", 4, "{{/if}} closes {{#each}}, which begins on line 3"),
        ("a\n{{/if}}", 2, "{{/if}} closes nothing"),
        ("\n\n{{else}}", 3, "{{else}} stands outside of any block"),
        ("a\n{{shout x}}", 2, "\"shout\" is not a helper"),
        ("a\n{{#shout x}}{{/shout}}", 2, "{{#shout}} is not a helper"),
        ("{{> partial}}", 1, "partials"),
        ("\n{{{{raw}}}}x{{{{/raw}}}}", 2, "raw blocks"),
        ("a {{ b", 1, "not closed by }}"),
        ("\n{{#if}}a{{/if}}", 2, "takes 1 argument"),
        ("x\ny {{a b=}}", 2, "not a Handlebars template"),
        ("{{#if a}}\n{{x}}\n{{foo (bar 1)}}\n{{/if}}", 3, "\"foo\" is not a helper"),
    ] {
        let error = Template::read("a/t.hbs", template.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.file.as_str()), (line, "a/t.hbs"), "{template:?}: {error}");
        assert!(error.problem.contains(part), "{template:?}: {error}");
    }
}

#[test]
fn what_a_template_costs_is_bounded() {
    let long: Vec<u32> = (0..2000).collect();
    let endless = "{{#each l}}{{#each @root.l}}{{#each @root.l}}{{/each}}{{/each}}{{/each}}";
    let template = Template::read("t", endless.as_bytes()).unwrap();
    let error = template.render(&json!({ "l": long })).unwrap_err();
    assert!(error.problem.contains("too many steps"), "{error}");
    let endless = format!("{{{{#each l}}}}{}{{{{/each}}}}", "x".repeat(10_000));
    let template = Template::read("t", endless.as_bytes()).unwrap();
    let error = template.render(&json!({ "l": long })).unwrap_err();
    assert!(error.problem.contains("renders more than"), "{error}");
    for deep in [
        format!("{}{}", "{{#if a}}".repeat(1000), "{{/if}}".repeat(1000)),
        format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if a}}".repeat(1000)),
        format!("{{{{a {}b{}}}}}", "(b ".repeat(1000), ")".repeat(1000)),
        format!("{{{{#if {}1{}}}}}{{{{/if}}}}", "[".repeat(1000), "]".repeat(1000)),
        "{{a}}".repeat(30_000),
    ] {
        assert!(Template::read("t", deep.as_bytes()).is_err());
    }
}
