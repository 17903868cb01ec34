"""Speed as ratios against peers measured in the same run. Installs nothing; never part of CI."""
