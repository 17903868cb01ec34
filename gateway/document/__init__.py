"""Documents: everything that opens bytes of strangers, in a child process that can be killed.

| module                | job                                                               |
|-----------------------|-------------------------------------------------------------------|
| `tasks`               | what is asked of the child and what it answers, as JSON           |
| `workshop`            | the daemon's side: hand in a task, get an answer or an error      |
| `forkserver`          | imports the libraries once, forks one child a task, kills it      |
| `child`, `limits`     | what a forked child does first and last; what it may use          |
| `cage`                | which files and system calls the kernel leaves to the child       |
| `prepare`             | message → one fax-ready PDF                                       |
| `examine`             | received download → checked PDF                                   |
| `pdf`, `bomb`         | a PDF is opened, stripped of all that acts, weighed unpacked      |
| `image`, `sheet`      | TIFF, PNG, JPEG become pages; where a picture lies on its sheet   |
| `text`, `glyphs`      | the text of a mail becomes pages; letters that no font has        |
| `raster`, `shrink`    | render: thumbnail, proof of ink; a document that is too big       |

The daemon imports `tasks` and `workshop` only.
"""

from gateway.document.tasks import Inspected, InspectTask, Prepared, PrepareTask
from gateway.document.workshop import Workshop

__all__ = ["InspectTask", "Inspected", "PrepareTask", "Prepared", "Workshop"]
