import "../lib/theme.css";
