import { render } from "preact";
import "../lib/theme.css";
import { Page } from "./page";
import { begin } from "./state";

const root = document.getElementById("page");
if (root) {
  render(<Page />, root);
  void begin();
}
