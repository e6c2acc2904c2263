# Definitions for the expressions of peers/: each is said of a call's record.

# Every step in its order: "REFER failed 603, BYE succeeded 200".
def steps: [.steps[]? | "\(.method) \(.result)" + (if .status then " \(.status)" else "" end)] | join(", ");
# The statuses of the sipfrags of all steps.
def fragments: [.steps[]?.fragments[]?.status];
# Milliseconds from one moment to the first later one, by what they say.
def between($from_here; $to_here):
  (.timeline | map(select(.what | startswith($from_here))) | first | .atMs) as $from
  | (.timeline | map(select((.what | startswith($to_here)) and .atMs >= $from)) | first | .atMs) - $from;
def happened($what): any(.timeline[]; .what | startswith($what));
