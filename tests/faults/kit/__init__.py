"""Cases of dying: children that die at a chosen line, the operations they die in, and what is checked afterwards."""
