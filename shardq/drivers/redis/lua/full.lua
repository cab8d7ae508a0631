-- A call for a handler found no room.
-- keys: STATE SLEEPS TALLIES CAME
-- needs: base frees tallies
-- args: handler, how (waited or raised)
tally_some(args.how == 'waited' and 'W' or 'F', args.handler, 1)
save()
return 1
