/** Decisions: the list, or one of them as a ladder of checks. */
import type { PageProps } from "../pages";
import { DecisionList } from "./list";
import { OneDecision } from "./one";
import "./decisions.css";

export default function DecisionsPage({ path, query }: PageProps) {
  const [id] = path;
  return id === undefined ? <DecisionList query={query} /> : <OneDecision key={id} id={id} />;
}
