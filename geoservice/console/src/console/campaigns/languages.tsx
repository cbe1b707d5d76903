/** The message in other languages than its own. */
import { useState } from "preact/hooks";
import { languageName } from "../../lib/format";
import { Icon } from "../../lib/ui/icon";
import { Button, Field, IconButton } from "../../lib/ui/parts";
import { Text, type Tools } from "./controls";
import { at, placeOf } from "./spec";

export function Languages({ tools }: { tools: Tools }) {
  const path = ["content", "languages"];
  const there = at(tools.spec, path);
  const languages = typeof there === "object" && there !== null && !Array.isArray(there) ? there : {};
  const [tag, setTag] = useState("");
  const add = () => {
    const added = tag.trim();
    if (!added) return;
    if (!(added in languages)) tools.set([...path, added], { title: "", body: "" });
    setTag("");
  };
  return (
    <fieldset class="languages">
      <legend>Other languages</legend>
      {Object.keys(languages).map((each) => (
        <div key={each} class="language">
          <div class="language-head">
            <strong>{languageName(each)}</strong>
            <IconButton label={`Remove ${languageName(each)}`} icon="trash" onClick={() => tools.set([...path, each], undefined)} />
          </div>
          {tools.errors
            .filter((error) => error.path === placeOf([...path, each]))
            .map(({ message }) => (
              <p class="field-error" key={message}>
                <Icon name="alert" /> {message}
              </p>
            ))}
          <Text tools={tools} path={[...path, each, "title"]} label={`Title in ${languageName(each)}`} counts={40} />
          <Text tools={tools} path={[...path, each, "body"]} label={`Text in ${languageName(each)}`} counts={140} lines={2} />
        </div>
      ))}
      <div class="language-add">
        <Field
          label="Add a language"
          hint="A tag such as de or fr-CH."
          control={(ties) => <input {...ties} value={tag} spellcheck={false} onInput={(event) => setTag(event.currentTarget.value)} />}
        />
        <Button icon="plus" onClick={add}>
          Add
        </Button>
      </div>
    </fieldset>
  );
}
