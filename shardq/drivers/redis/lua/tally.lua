-- What a worker says that it did, where no turn takes that along.
-- keys: STATE SLEEPS TALLIES CAME
-- needs: base frees tallies
-- args: tallies (by handler: see shared/tallies.lua)
tally_all(args.tallies)
save()
return 1
