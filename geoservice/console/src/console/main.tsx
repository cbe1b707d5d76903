import { render } from "preact";
import "../lib/theme.css";
import { Console } from "./shell";

const root = document.getElementById("page");
if (root) render(<Console />, root);
